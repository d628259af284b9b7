"""What a Compose project gives for its backups."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from console.core import engine, files
from console.core.errors import ConsoleError, UnreachableError
from console.core.process import Finished
from console.core.progress import Progress
from console.core.stack.compose_project import ComposeProject
from console.core.stack.containers import role_of
from console.core.stack.driver import Role
from console.core.text import clean

# Whoever lets go of `docker compose exec` leaves the program running in the container. So it says
# its number first; it is the leader of a session of its own. It is ended after who reads from it:
# an engine that cannot hand out what an ended program wrote (20.10) does nothing else there
# meanwhile, not even the checks of the container's health.
NUMBERED = 'echo "number $$" >&2; exec "$@"'
END = 'kill -s TERM -- "-$1"; sleep 1; kill -s KILL -- "-$1"'
# What tells a version, and what of its answer is one.
NUMBERS = r"\d+\.\d+[\w.-]*"
ASK: dict[Role, tuple[tuple[str, ...], str]] = {
    Role.TRACKING: (
        ("python", "-c", "from importlib.metadata import version; print(version('mlflow'))"),
        NUMBERS,
    ),
    Role.DATABASE: (("sh", "-c", "mysqld --version || mariadbd --version"), NUMBERS),
    Role.STORE: (
        ("sh", "-c", "minio --version || silo --version"), r"RELEASE\.[\w.-]+|DEVELOPMENT[\w.-]*"
    ),
    Role.PROXY: (("nginx", "-v"), NUMBERS),
}  # fmt: skip
MAINTENANCE = ".maintenance"
MIGRATING = "mlflow-console.migrating"
"""The label of a container that migrates, with the folder of its deployment."""
MIGRATE = ("python", "/opt/stack/prepare.py", "migrate")


def pipe(
    project: ComposeProject, role: Role, argv: Sequence[str], env: Mapping[str, str], *,
    feed: Iterable[bytes] | None, cancel: threading.Event,
) -> Iterator[bytes]:  # fmt: skip
    """See `BackupDriver.pipe`; of the variables only the names stand in its arguments."""
    service = project.name_of(role)
    container = project.running(service)
    if container is None:
        raise UnreachableError(f"The {service} does not run", "`mlflow-console up` starts it.")
    identity = str(container.id)
    number = ""

    def listen(line: str) -> bool:
        nonlocal number
        word, _, rest = line.partition(" ")
        if number or word != "number" or not rest.isdigit():
            return False
        number = rest
        return True

    def end() -> None:
        if number:
            project.engine.run_in(identity, ["sh", "-c", END, "sh", number])

    names = [word for name in env for word in ("--env", name)]
    command = ["compose", "exec", "--no-TTY", *names, service, "sh", "-c", NUMBERED, "sh", *argv]
    yield from engine.pipe(
        command, project.paths.root, env, feed, cancel, named=argv[0], listen=listen, ended=end
    )


def migrate(project: ComposeProject, cancel: threading.Event) -> Iterator[Progress]:
    """In a container of its own, beside the database."""
    service = project.name_of(Role.TRACKING)
    label = f"{service}: bringing the database's schema up to date"
    yield Progress(label)
    name = f"{MIGRATING}={project.paths.root}"
    command = ["run", "--rm", "--no-deps", "--no-TTY", "--label", name, service, *MIGRATE]
    _remove(project, name)  # of one that was killed
    try:
        for line in engine.compose(command, project.paths.root, cancel):
            if not isinstance(line, Finished):
                yield Progress(label, said=clean(line.strip()))
            elif line.code != 0:
                last = line.errors.strip().splitlines()
                raise ConsoleError(
                    "The database's schema cannot be brought up to date: "
                    + (clean(last[-1], 500) if last else f"it ended with {line.code}")
                )
    finally:
        _remove(project, name)  # it would go on when only the command was ended


def _remove(project: ComposeProject, label: str) -> None:
    with project.engine.calls() as client:
        for each in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
            each.remove(force=True)


def maintenance(users: Path, on: bool) -> None:
    """Put up, or take away, the flag at which the proxy turns everybody away.

    Args:
        users: The folder of the user files; the proxy looks there with every request
            (stack/nginx/maintenance.conf).
        on: Which of the two.

    Raises:
        AccessError: This account may not write there.
    """
    flag = users / MAINTENANCE
    with files.explained(flag):
        if on:
            files.make_folder(users, 0o755)
            flag.touch(mode=0o644)
        else:
            flag.unlink(missing_ok=True)


def images(project: ComposeProject) -> dict[str, str]:
    """The digest that a registry knows the image by, else the engine's own id of it."""
    from docker.errors import ImageNotFound  # noqa: PLC0415  # first use

    found = {}
    containers = project.containers()
    with project.engine.calls() as client:
        for name, container in containers.items():
            image = str(container.attrs["Image"])
            digests: list[str] = []
            with contextlib.suppress(ImageNotFound):  # removed while its container runs on
                digests = client.images.get(image).attrs.get("RepoDigests") or []
            found[name] = clean(digests[0] if digests else image, 300)
    return found


def versions(project: ComposeProject) -> dict[str, str]:
    """What the programs say of themselves; of what does not run, the tag of its image."""
    containers = project.containers()
    found = {}
    for name, part in project.resolved.services.items():
        role = role_of(part.labels)
        if role is not Role.JOB:
            running = containers.get(name)
            asked = running is not None and running.status == "running" and role in ASK
            said = _asked(project, str(running.id), role) if running and asked else ""
            found[name] = said or _tag(part.image)
    return found


def _tag(image: str) -> str:
    tag = image.partition("@")[0].rpartition(":")[2]
    return "" if "/" in tag else clean(tag)


def _asked(project: ComposeProject, container: str, role: Role) -> str:
    argv, pattern = ASK[role]
    try:
        code, said = project.engine.run_in(container, argv)
    except ConsoleError:
        return ""
    match = re.search(pattern, said)
    return match[0] if code == 0 and match else ""
