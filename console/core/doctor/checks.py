"""What is wrong with the services as they are set up: data, images, ports, logs, passwords."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from console.core.doctor import certificates, proxy, support
from console.core.doctor.support import split_image
from console.core.format import size
from console.core.stack.anatomy import Anatomy, Kind, Mount, Part, Password, Unseen
from console.core.stack.driver import Finding, Role, Severity
from console.core.text import clean

# Under these tags stands another version tomorrow.
MOVING = ("", "latest", "stable", "edge", "nightly", "main", "master", "lts", "innovation")
KEEPERS = (Role.DATABASE, Role.STORE)
# What images, tutorials and lists of default passwords use; compared without regard to case.
KNOWN_PASSWORDS = frozenset({
    "", "minioadmin", "minio", "minio123", "miniosecret", "root", "rootpassword", "rootpass",
    "toor", "password", "passwd", "pass", "password1", "password123", "passw0rd", "p@ssw0rd",
    "mlflow", "mlflow123", "mlflowpassword", "admin", "admin123", "administrator", "mysql",
    "mariadb", "postgres", "secret", "changeme", "change_me", "change-me", "default", "example",
    "test", "test123", "guest", "user", "1234", "12345", "123456", "12345678", "123456789",
    "qwerty", "letmein",
})  # fmt: skip

OF_DATABASE = ("DATABASE_", "MYSQL_", "MARIADB_")


def findings(anatomy: Anatomy, now: datetime) -> list[Finding]:
    """Everything that shows in how a deployment is put together, errors first.

    Args:
        anatomy: As its driver has just given it.
        now: The time, with its zone.
    """
    found = [
        *_of_data(anatomy),
        *_of_passwords(anatomy),
        *_of_ports(anatomy),
        *certificates.findings(anatomy, now),
        *proxy.findings(anatomy),
        *_of_images(anatomy),
        *support.findings(anatomy, now.date()),
        *_of_logs(anatomy),
        *unseen(anatomy.unseen),
    ]
    return sorted(found, key=lambda each: each.severity is not Severity.ERROR)


def unseen(every: Sequence[Unseen]) -> list[Finding]:
    """The lines that say what could not be looked at, one a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in every:
        reasons.setdefault((each.why, each.hint), []).append(each.what)
    return [
        Finding(
            "could-not-look", Severity.WARNING, "",
            f"Could not look at {_listed(list(dict.fromkeys(what)))}: {why}", fix=hint,
        )
        for (why, hint), what in reasons.items()
    ]  # fmt: skip


# Data


def _of_data(anatomy: Anatomy) -> Iterator[Finding]:
    """Databases and stores whose data goes when their container does."""
    for part in anatomy.parts:
        if not part.data or part.role not in KEEPERS:
            continue
        if part.now is not None and not _stays(part.now):
            yield _lost(anatomy, part, part.now, "its data is lost when its container is")
        elif part.next is not None and not _stays(part.next):
            yield _lost(anatomy, part, part.next,
                        "made anew, it starts without its data")  # fmt: skip


def _stays(mount: Mount) -> bool:
    return mount.kind in (Kind.VOLUME, Kind.FOLDER)


def _lost(anatomy: Anatomy, part: Part, mount: Mount, words: str) -> Finding:
    title = f"{part.name}: {words}, because no volume lies under {part.data}"
    return Finding(
        "data-without-volume", Severity.ERROR, part.name, title,
        f"{part.data} lies in {mount.kind}",
        f"dump or copy the data first; then give {part.name} a volume with a name at {part.data} "
        f"in {anatomy.compose_file} (services: {part.name}: volumes: "
        f"[\"{part.name}:{part.data}\"], and {part.name} under the volumes at its end); then "
        "mlflow-console up",
    )  # fmt: skip


# Images


def _of_images(anatomy: Anatomy) -> Iterator[Finding]:
    """What becomes another version by itself, where that changes data on the disk."""
    for part in anatomy.parts:
        if part.role not in (*KEEPERS, Role.TRACKING):
            continue
        name, tag, pinned = split_image(part.image)
        if pinned or tag.lower() not in MOVING or not name:
            continue
        known = f" ({part.version} now)" if part.version else ""
        yield Finding(
            "image-not-pinned", Severity.WARNING, part.name,
            f"{part.name}: {clean(name, 120)} has no fixed version, so that a pull may change its "
            "data for good",
            f"the tag is {tag or 'left out, which means latest'}{known}",
            f"name the version in {part.image_setting}; then mlflow-console up",
        )  # fmt: skip


# Ports

PAST_THE_LOCK = {
    Role.DATABASE: ("database-published", "the database can be reached from elsewhere"),
    Role.STORE: ("store-published", "the store can be reached from elsewhere"),
    Role.TRACKING: (
        "tracking-published", "MLflow can be reached past the proxy, without a password",
    ),
}  # fmt: skip


def _of_ports(anatomy: Anatomy) -> Iterator[Finding]:
    """What listens for everybody and should for the stack alone; loopback is for this machine."""
    for part in anatomy.parts:
        open_ones = [port for port in part.published if not port.loopback]
        if not open_ones or part.role not in PAST_THE_LOCK:
            continue
        name, words = PAST_THE_LOCK[part.role]
        listed = "; ".join(map(str, open_ones))
        yield Finding(
            name, Severity.ERROR, part.name, f"{part.name}: {words}: {listed}",
            "a firewall of this machine (ufw) does not stop ports that Docker publishes",
            f"take ports (or network_mode: host) of {part.name} out of {anatomy.compose_file}, "
            f"or put 127.0.0.1: in front of {_ports(open_ones)} there; then mlflow-console up",
        )  # fmt: skip


def _ports(ports: Sequence[object]) -> str:
    return "the port" if len(ports) == 1 else "each port"


# Logs


def _of_logs(anatomy: Anatomy) -> Iterator[Finding]:
    """Logs that fill the disk in the end; one finding for all, for their remedy is one."""
    parts = [
        part for part in anatomy.parts
        if part.log is not None and not part.log.limited and part.role is not Role.JOB
    ]  # fmt: skip
    if not parts:
        return
    names = [part.name for part in parts]
    sizes = [
        f"{part.name} {size(part.log.bytes)}" for part in parts
        if part.log is not None and part.log.bytes is not None
    ]  # fmt: skip
    drivers = sorted({part.log.driver for part in parts if part.log is not None})
    yield Finding(
        "logs-unlimited", Severity.WARNING, names[0] if len(names) == 1 else "",
        f"The logs of {_listed(names)} grow without a limit" if len(names) > 1
        else f"The log of {names[0]} grows without a limit",
        f"{', '.join(drivers)} without max-size" + (f"; now: {', '.join(sizes)}" if sizes else ""),
        "logging: {driver: json-file, options: {max-size: 10m, max-file: \"5\"}} under "
        f"{_listed(names)} in {anatomy.compose_file}; then mlflow-console recreate "
        f"{' '.join(names)}",
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# Passwords


def _of_passwords(anatomy: Anatomy) -> Iterator[Finding]:
    """Passwords that everybody knows; none of them is ever repeated."""
    for each in anatomy.passwords:
        if each.value is not None and each.value.reveal().strip().casefold() not in KNOWN_PASSWORDS:
            continue
        seen = "it is one of those that images and tutorials come with"
        if each.value is None:
            seen = "it lets everybody in without a password"
        elif not each.value.reveal():
            seen = "it is empty"
        yield Finding(
            "password-default", Severity.ERROR, each.service,
            f"{each.service}: {clean(each.setting, 60)} is a password that everybody knows",
            seen, _other_password(anatomy, each),
        )  # fmt: skip


def _other_password(anatomy: Anatomy, password: Password) -> str:
    fresh = "make one up with `openssl rand -hex 16`"
    again = "mlflow-console down, then mlflow-console up"
    place = f"{clean(password.setting, 60)} in {password.where}"
    if not password.setting.startswith(OF_DATABASE):
        return f"{fresh}, put it into {place}; then {again}"
    account = "root'@'localhost" if "ROOT" in password.setting else "mlflow'@'%"
    other = " (and 'root'@'%', where there is one)" if "ROOT" in password.setting else ""
    return (
        f"{fresh}. For a database that is there already the setting alone does nothing: "
        f"{anatomy.command} exec {password.service} sh -c "
        "'MYSQL_PWD=\"$(cat /run/stack-secrets/database-root-password)\" mysql -uroot', then "
        f"ALTER USER '{account}' IDENTIFIED BY '…'{other}. Put it into {place}; then {again}"
    )
