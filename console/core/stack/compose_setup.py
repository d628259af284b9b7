"""Planning a deployment on Docker Compose, and the files that it is made of.

The files are copies of the shipped `stack/`, usable by hand; `.env` holds what was chosen and the
secrets. Which version each copy was shipped with stands in `stack.json`, so that an upgrade can
tell a file that somebody has edited.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

import console
from console.core import engine, files, process, secrets, settings, shipped
from console.core.errors import ConsoleError, UnreachableError, UsageError
from console.core.ports import choose
from console.core.settings import Settings
from console.core.stack.planning import SIZES, Planned, Wishes

LOCAL, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  # only when --public was asked for
USUAL_TLS_PORT, USUAL_DATABASE_PORT, USUAL_STORE_PORT = 5443, 53306, 59000
NEEDED_BYTES = 10_000_000
# What of `stack/` a Compose deployment takes; the folders of users and certificates are its own.
PARTS = (
    "compose.yaml", "published.yaml", ".dockerignore", ".env.example",
    "mlflow", "mysql", "nginx", "server",
)  # fmt: skip
OWN_NAME = "localhost"
_SETTING = re.compile(r"^#?([A-Z][A-Z0-9_]*)=.*$")


class Stamp(msgspec.Struct, frozen=True):
    """stack.json: what the copies were made from; SHA-256 by path."""

    format: int
    version: str
    files: dict[str, str]


def plan(wishes: Wishes, taken: Collection[int]) -> Planned:
    """Check what can be checked; see `Planner`.

    Raises:
        UnreachableError: Docker, its engine or Compose is missing.
        AccessError: This account may not use the engine, or read the certificates.
        ConsoleError: Compose is too old.
        UsageError: A value cannot be meant.
        NotOursError: A port is taken.
        DiskFullError: The files would not fit.
    """
    if wishes.size not in SIZES:
        raise UsageError(f"There is no size {wishes.size!r}", f"There is: {', '.join(SIZES)}.")
    try:
        engine.check()
    except UnreachableError as error:
        error.hint += " `init --driver embedded` needs no Docker."
        raise
    port = choose(wishes.port, taken)
    tls_port = choose(wishes.tls_port, {port, *taken}, USUAL_TLS_PORT, "--tls-port")
    if tls_port == port:
        raise UsageError(f"Port {port} cannot serve http and https", "Give two ports.")
    files.need_room(wishes.directory, NEEDED_BYTES, "The stack's files")
    names = _host_names(wishes)
    given = _certificates(wishes.certificates, names)
    project = _project(wishes.name)
    values = {
        "COMPOSE_PROJECT_NAME": project, "VIRTUAL_HOST": ",".join(names),
        "BIND_ADDRESS": EVERYWHERE if wishes.public else LOCAL,
        "HTTP_PORT": str(port), "HTTPS_PORT": str(tls_port), "STACK_SIZE": wishes.size,
        **_published({port, tls_port, *taken}),
    }  # fmt: skip

    def begin() -> None:
        for path, content in given.items():
            files.make_folder(wishes.directory / "certs", 0o755)
            files.write_atomic(wishes.directory / "certs" / path.name, content, mode=0o600)
        write_environment(wishes.directory / ".env", values)

    where = "every address" if wishes.public else "loopback"
    steps = (
        f"write console.toml: {wishes.name}, compose",
        f"write compose.yaml, the files it needs, and .env: project {project}, names "
        f"{', '.join(names)}, ports {port} and {tls_port} of {where}, size {wishes.size}",
        "make random passwords for the database and the store (in .env, 0600)",
        *(f"copy the certificate {path.name}" for path in given),
    )
    chosen = Settings(format=settings.FORMAT, name=wishes.name, driver="compose")
    return Planned(chosen, steps, port, _readable(wishes, names, given), begin)


def _host_names(wishes: Wishes) -> list[str]:
    """In the order given; the console itself, and everybody behind an SSH forward, use the last."""
    names = [name.lower() for name in wishes.host_names]
    return list(dict.fromkeys([*names, OWN_NAME]))


def _certificates(folder: Path | None, names: Collection[str]) -> dict[Path, bytes]:
    """The certificates and keys that a folder holds for these names.

    Raises:
        UsageError: It holds none, or half of one.
        AccessError: One of them is not for this account.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}", "It holds NAME.crt and NAME.key.")
    found: dict[Path, bytes] = {}
    for name in names:
        pair = [folder / f"{name}.crt", folder / f"{name}.key"]
        there = [path for path in pair if path.is_file()]
        if len(there) == 1:
            missing = pair[1 - pair.index(there[0])]
            raise UsageError(f"{there[0]} is there, and {missing.name} is not", "Both are needed.")
        for path in there:
            with files.explained(path):
                found[path] = path.read_bytes()
        if there:
            _check_pair(*pair)
    if not found:
        raise UsageError(
            f"{folder} holds no certificate of {', '.join(names)}",
            "They are called NAME.crt and NAME.key.",
        )
    return found


def _published(taken: Collection[int]) -> dict[str, str]:
    """Ports of loopback for database and store, where their own addresses mean nothing here."""
    if engine.Engine().shares_network:
        return {}
    first = choose(None, taken, USUAL_DATABASE_PORT)
    second = choose(None, {first, *taken}, USUAL_STORE_PORT)
    return {
        "COMPOSE_FILE": "compose.yaml:published.yaml",
        "DATABASE_PORT": str(first), "STORE_PORT": str(second),
    }  # fmt: skip


def _check_pair(certificate: Path, key: Path) -> None:
    """See that nginx could use them: both are PEM, belong together, and no passphrase is asked.

    Raises:
        UsageError: It could not.
    """
    import ssl  # noqa: PLC0415  # first use, not start-up

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{certificate} and {key.name} cannot be used together: {error}",
            "Both are PEM, the key is the certificate's own and has no passphrase.",
        ) from error


def _readable(wishes: Wishes, names: Collection[str], given: Mapping[Path, bytes]) -> str:
    """Whether passwords will travel readable: somebody else's network, and a name without TLS."""
    covered = {path.stem for path in given}
    bare = [name for name in names if name != OWN_NAME and name not in covered]
    if not wishes.public or (covered and not bare):
        return ""
    whom = ", ".join(bare) or "this machine"
    return (
        f"{whom} will be served without a certificate, to every address: passwords travel readable"
    )


def _project(name: str) -> str:
    """A project name that nothing on this engine carries yet, not even a volume that was left.

    Raises:
        ConsoleError: The engine does not tell.
    """
    wanted = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "mlflow"
    with engine.Engine().calls() as client:
        label: dict[str, str | list[str] | bool] = {"label": engine.PROJECT}
        every = [
            *(each.labels for each in client.containers.list(
                all=True, filters=label, ignore_removed=True)),
            *(each.attrs.get("Labels") or {} for each in client.volumes.list(filters=label)),
            *(each.attrs.get("Labels") or {} for each in client.networks.list(filters=label)),
        ]  # fmt: skip
    used = {labels.get(engine.PROJECT) for labels in every}
    numbered = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, 10_000))
    return next(each for each in numbered if each not in used)


def settle(directory: Path, held: Path, taken: Collection[int]) -> list[str]:
    """Give it a project name, ports and volumes that nobody else has; see `Settler`."""
    path = directory / ".env"
    with files.explained(path):
        lines = path.read_text().splitlines()
    said, used = [], set(taken)
    for number, line in enumerate(lines):
        name, _, value = line.partition("=")
        other = _settled(directory, name, value.strip("\"'"), used)
        if other is not None:
            lines[number] = f"{name}={other}"
            said.append(f"{name} is {other}, as {value} is taken here")
    if said:
        files.write_atomic(path, ("\n".join(lines) + "\n").encode(), mode=0o600)
    return said


def _settled(directory: Path, name: str, value: str, used: set[int]) -> str | None:
    """What a line of .env has to say here; None when it can stay."""
    if name == "COMPOSE_PROJECT_NAME":
        free = _project(value)
        return None if free == value else free
    if name in ("HTTP_PORT", "HTTPS_PORT", "DATABASE_PORT", "STORE_PORT") and value.isdigit():
        port = int(value)
        if port in used or not process.port_is_free(port):
            port = process.free_port(port + 1, used)
        used.add(port)
        return None if str(port) == value else str(port)
    if name in ("DATABASE_DATA", "STORE_DATA") and "/" in value:
        folder = directory / value
        if folder.is_dir() and any(folder.iterdir()):
            return name.partition("_")[0].lower()  # the volume; that folder is somebody's data
    return None


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """Write .env (0600) from the shipped example, with new secrets in it."""
    chosen = dict(values)
    for name in ("DATABASE_PASSWORD", "DATABASE_ROOT_PASSWORD", "STORE_SECRET_KEY"):
        chosen[name] = secrets.generate(32).reveal()
    chosen["STORE_ACCESS_KEY"] = secrets.generate(20).reveal()
    lines = []
    for line in (shipped.folder() / ".env.example").read_text().splitlines():
        match = _SETTING.match(line)
        name = match[1] if match else ""
        lines.append(f"{name}={chosen.pop(name)}" if name in chosen else line)
    if chosen:
        raise ConsoleError(f".env.example lacks {', '.join(chosen)}", "Please report this.")
    files.sweep(path)
    files.write_atomic(path, ("\n".join(lines) + "\n").encode(), mode=0o600)


def write_files(directory: Path) -> None:
    """Copy what the stack is made of; nothing to do where it is complete."""
    if is_written(directory):
        return
    digests = {}
    for source, name in _shipped():
        target = directory / name
        files.make_folder(target.parent, 0o755)
        content = source.read_bytes()
        # The containers' accounts read most of them; the deployment's folder is 0700.
        files.write_atomic(target, content, mode=0o644)
        digests[name] = hashlib.sha256(content).hexdigest()
    files.make_folder(directory / "certs", 0o755)
    stamp = Stamp(format=1, version=console.__version__, files=digests)
    files.write_atomic(directory / "stack.json", msgspec.json.encode(stamp), mode=0o644)


def is_written(directory: Path) -> bool:
    """Whether the copies were made to the end."""
    return (directory / "stack.json").exists() and (directory / "compose.yaml").exists()


def _shipped() -> Iterator[tuple[Path, str]]:
    folder = shipped.folder()
    for part in PARTS:
        place = folder / part
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path, str(path.relative_to(folder))
