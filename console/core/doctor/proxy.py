"""What the proxy's configuration does to large artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.core.doctor import nginx
from console.core.doctor.nginx import Handing
from console.core.stack.anatomy import Anatomy, ProxyConfig
from console.core.stack.driver import Finding, Severity
from console.core.text import clean

# What nginx does where nothing is set (https://nginx.org/en/docs/http/ngx_http_core_module.html,
# and ngx_http_proxy_module.html).
BODY, READ = "client_max_body_size", "proxy_read_timeout"
DEFAULT_BODY, DEFAULT_READ = "1m", "60s"
LEAST_BODY, LEAST_READ = 1024**2, 60.0
SHIPPED_BODY, SHIPPED_READ = "5g", "1h"


def findings(anatomy: Anatomy) -> list[Finding]:
    """What is wrong with the configuration of the proxy, where it is nginx's."""
    config = anatomy.proxy
    if config is None:
        return []
    if config.error:
        return [Finding(
            "proxy-config-broken", Severity.ERROR, config.service,
            f"{config.service}: nginx cannot use its configuration as it is now; an older one "
            "goes on",
            clean(config.error, 400),
            f"mend {clean(', '.join(config.outside.values()) or 'what it names', 300)}; then "
            f"{config.reload}",
        )]  # fmt: skip
    if not config.files:
        return []
    try:
        every = nginx.handings(nginx.parse(config.files, config.main))
    except ValueError as error:
        return [Finding(
            "could-not-look", Severity.WARNING, config.service,
            f"Could not look at the proxy's configuration: {clean(str(error), 200)}",
        )]  # fmt: skip
    return [*_of_bodies(config, every), *_of_times(config, every)]


def _of_bodies(config: ProxyConfig, every: Sequence[Handing]) -> Iterator[Finding]:
    small, endless = [], []
    for each in every:
        allowed = nginx.size(each.value(BODY) or DEFAULT_BODY)
        if allowed == 0:
            endless.append(each)
        elif allowed is not None and allowed <= LEAST_BODY:
            small.append(each)
    if small:
        words = f"artifacts of more than {small[0].value(BODY) or DEFAULT_BODY} are refused (413)"
        yield _finding(config, small, "proxy-body-size", words, (BODY, SHIPPED_BODY))
    if endless:
        words = "an upload of any size is taken, so that one client can fill the disk"
        yield _finding(config, endless, "proxy-body-unlimited", words, (BODY, SHIPPED_BODY))


def _of_times(config: ProxyConfig, every: Sequence[Handing]) -> Iterator[Finding]:
    short = [
        each
        for each in every
        if (nginx.seconds(each.value(READ) or DEFAULT_READ) or 0) <= LEAST_READ
    ]
    if short:
        words = (
            f"an upload that MLflow needs longer than {short[0].value(READ) or DEFAULT_READ} to "
            "store ends with 504"
        )
        yield _finding(config, short, "proxy-timeout", words, (READ, SHIPPED_READ))


def _finding(
    config: ProxyConfig, where: Sequence[Handing], kind: str, words: str, wanted: tuple[str, str]
) -> Finding:
    """A finding about a directive.

    Args:
        config: Of the proxy.
        where: The locations it concerns.
        kind: The finding's id.
        words: What follows from it.
        wanted: The directive, and what the shipped proxy has for it.
    """
    name, value = wanted
    said = where[0].value(name)
    names = list(dict.fromkeys(each for one in where for each in one.names))
    # What is shared by every server is set in the file that they all include.
    place = where[0].chain[-1].file
    file = config.outside.get(place, place)
    return Finding(
        kind, Severity.WARNING, config.service, f"{config.service}: {words}",
        f"{name} is {clean(said, 40) or 'not set'} for "
        f"{clean(', '.join(names) or 'every name', 200)}",
        f"write `{name} {value};` into {clean(file, 300)}"
        + (f" in the place of `{name} {clean(said, 40)};`" if said else "")
        + f"; then {config.reload}",
    )  # fmt: skip
