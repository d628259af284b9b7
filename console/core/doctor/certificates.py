"""Certificates near their end, and passwords that travel readable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from console.core.format import plural
from console.core.stack.anatomy import Anatomy, Certificate
from console.core.stack.driver import Finding, Role, Severity
from console.core.text import clean

if TYPE_CHECKING:
    from cryptography.x509 import Certificate as Parsed

# Whoever renews a certificate of 90 days does so 30 days before its end: this is late.
NEAR_DAYS = 21
OWN_NAME = "localhost"


def findings(anatomy: Anatomy, now: datetime) -> list[Finding]:
    """What is wrong with the certificates, and who has none and should.

    Args:
        anatomy: Of the deployment.
        now: The time, with its zone.
    """
    found = [_readable(anatomy)]
    for each in anatomy.certificates:
        found += _of_one(anatomy, each, now)
    return [each for each in found if each is not None]


def _of_one(anatomy: Anatomy, certificate: Certificate, now: datetime) -> Iterator[Finding | None]:
    from cryptography import x509  # noqa: PLC0415  # first use

    proxy = anatomy.proxy.service if anatomy.proxy else ""
    reload = anatomy.proxy.reload if anatomy.proxy else ""
    fix = (
        f"renew it, put it in the place of {certificate.path} and its key beside it; then {reload}"
    )
    try:
        parsed = x509.load_pem_x509_certificate(certificate.pem)
    except ValueError as error:
        yield Finding(
            "certificate-unreadable", Severity.ERROR, proxy,
            f"The certificate of {certificate.host} cannot be read", clean(str(error), 200), fix,
        )  # fmt: skip
        return
    yield _end(certificate, parsed, now, proxy, fix)
    covered = _names(parsed)
    if not any(covers(each, certificate.host) for each in covered):
        yield Finding(
            "certificate-of-another-name", Severity.WARNING, proxy,
            f"The certificate of {certificate.host} is not for that name: clients refuse it",
            f"it is for {clean(', '.join(covered) or 'no name at all', 200)}", fix,
        )  # fmt: skip


def _end(
    certificate: Certificate, parsed: Parsed, now: datetime, proxy: str, fix: str
) -> Finding | None:
    end = parsed.not_valid_after_utc
    left = (end - now).days
    seen = f"{certificate.path} ends at {end:%Y-%m-%d %H:%M} UTC"
    if end <= now:
        return Finding(
            "certificate-ended", Severity.ERROR, proxy,
            f"The certificate of {certificate.host} ended on {end:%Y-%m-%d}: clients refuse it",
            seen, fix,
        )  # fmt: skip
    if left > NEAR_DAYS:
        return None
    when = f"in {plural(left, 'day')}" if left else "within a day"
    return Finding(
        "certificate-near-its-end", Severity.WARNING, proxy,
        f"The certificate of {certificate.host} ends {when}", seen, fix,
    )  # fmt: skip


def _names(parsed: Parsed) -> list[str]:
    from cryptography import x509  # noqa: PLC0415  # first use

    try:
        said = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [
        *said.get_values_for_type(x509.DNSName),
        *map(str, said.get_values_for_type(x509.IPAddress)),
    ]


def _readable(anatomy: Anatomy) -> Finding | None:
    """Whether passwords travel readable: somebody else's network, and a name without TLS."""
    proxy = next((part for part in anatomy.parts if part.role is Role.PROXY), None)
    if proxy is None:
        return None
    public = [port for port in proxy.published if not port.loopback]
    covered = {each.host for each in anatomy.certificates}
    bare = [name for name in anatomy.host_names if name != OWN_NAME and name not in covered]
    if not public or (covered and not bare):
        return None
    whom = ", ".join(bare) or "this machine"
    pair = f"{bare[0]}.crt and {bare[0]}.key" if bare else "NAME.crt and NAME.key"
    reload = anatomy.proxy.reload if anatomy.proxy else ""
    name = "" if bare else f", the name to VIRTUAL_HOST in {anatomy.settings}"
    return Finding(
        "plain-http-public", Severity.ERROR, proxy.name,
        f"Passwords travel readable: {clean(whom, 120)} is served without a certificate on a "
        "public address",
        "the proxy listens on " + "; ".join(map(str, public)),
        f"put {pair} into {anatomy.certificate_folder}{name}, then {reload}; or set "
        f"{anatomy.address_setting} to 127.0.0.1 and do mlflow-console up",
    )  # fmt: skip


def covers(pattern: str, host: str) -> bool:
    """Whether a name in a certificate means a host: itself, or a star for its first part.

    Source: RFC 9525, section 6.3.
    """
    wanted, given = host.lower(), pattern.lower()
    if not given.startswith("*."):
        return given == wanted
    first, _, rest = wanted.partition(".")
    return bool(first) and rest == given[2:]
