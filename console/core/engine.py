"""The door to the container engine: its API, and Compose as people call it."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from console.core import pipes, process
from console.core.errors import AccessError, ConsoleError, UnreachableError
from console.core.text import clean

if TYPE_CHECKING:
    import docker

_UNKNOWN = re.compile(r"'compose' is not a docker command|unknown command: docker compose")
COMPOSE_PACKAGE = (
    "Install docker-compose-plugin from Docker, or docker-compose from Debian 13 or newer."
)
LEAST_COMPOSE = (2, 20)
TIMEOUT_SECONDS = 30
LOOK_SECONDS = 2.0
DEFAULT_SOCKET = "/var/run/docker.sock"
# Compose's own label on each container: the folder that its project was started from.
PROJECT, DIRECTORY, SERVICE = (
    f"com.docker.compose.{name}" for name in ("project", "project.working_dir", "service")
)


def address() -> str:
    """The engine that the docker command would use: DOCKER_HOST, else the current context's.

    Raises:
        ConsoleError: The context is not known.
    """
    given = os.environ.get("DOCKER_HOST")
    if given:
        return given
    from docker.context import ContextAPI  # noqa: PLC0415  # first use, not start-up
    from docker.errors import DockerException  # noqa: PLC0415  # as above

    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError) as error:
        raise ConsoleError(
            f"Docker's context cannot be read: {clean(str(error))}",
            "`docker context ls` shows what there is.",
        ) from error
    return (context.Host if context else None) or f"unix://{DEFAULT_SOCKET}"


class Engine:
    """One engine, connected at the first use; usable from any thread."""

    @functools.cached_property
    def address(self) -> str:
        """Its address, for instance "unix:///var/run/docker.sock"."""
        return address()

    @functools.cached_property
    def client(self) -> docker.DockerClient:
        """The client, with the newest version of the API that both sides know.

        Raises:
            UnreachableError: No engine answers.
            AccessError: This account may not use it.
        """
        import docker  # noqa: PLC0415  # first use, not start-up

        with explained(self.address):
            # More connections than there are services: each of their logs holds one.
            return docker.DockerClient(
                self.address, version="auto", timeout=TIMEOUT_SECONDS, max_pool_size=50,
                use_ssh_client=True,
            )  # fmt: skip

    @contextlib.contextmanager
    def calls(self) -> Iterator[docker.DockerClient]:
        """The client for some calls, whose errors come out as sentences."""
        client = self.client
        with explained(self.address):
            yield client

    def run_in(self, container: str, argv: Sequence[str]) -> tuple[int, str]:
        """Run a small program in a running container.

        Args:
            container: Its id.
            argv: Program and arguments; no secret.

        Returns:
            Its exit code, and what it said, at most a few hundred characters of it.
        """
        with self.calls() as client:
            made: dict[str, Any] = client.api.exec_create(container, list(argv))
            said: Any = client.api.exec_start(made["Id"])
            ended: dict[str, Any] = client.api.exec_inspect(made["Id"])
        return int(ended["ExitCode"]), clean(bytes(said).decode(errors="replace").strip(), 500)

    def output_of(self, container: str, argv: Sequence[str]) -> tuple[int, str, str]:
        """Run a program in a running container and get all that it says, as it says it.

        Args:
            container: Its id.
            argv: Program and arguments; no secret.

        Returns:
            Its exit code, stdout and stderr; neither is cleaned.
        """
        with self.calls() as client:
            made: dict[str, Any] = client.api.exec_create(container, list(argv))
            both: Any = client.api.exec_start(made["Id"], demux=True)
            ended: dict[str, Any] = client.api.exec_inspect(made["Id"])
        said = [(each or b"").decode(errors="replace") for each in both]
        return int(ended["ExitCode"]), said[0], said[1]

    @functools.cached_property
    def shares_network(self) -> bool:
        """Whether the addresses of containers can be reached from here.

        Not those of a rootless engine, which has a network of its own, nor another machine's.
        """
        if not self.address.startswith("unix://"):
            return False
        with self.calls() as client:
            info = client.info()
        rootless = any("rootless" in each for each in info.get("SecurityOptions") or ())
        return not rootless and "Desktop" not in info.get("OperatingSystem", "")


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the client says of the engine into sentences."""
    import requests  # noqa: PLC0415  # imported with docker
    from docker.errors import APIError, DockerException  # noqa: PLC0415  # as above

    try:
        yield
    except APIError as error:
        said = clean(str(error.explanation or error), 300)
        raise ConsoleError(f"The Docker engine refuses: {said}") from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise _unreachable(where, error) from error


def _unreachable(where: str, error: BaseException) -> ConsoleError:
    cause = _operating_system(error)
    if isinstance(cause, PermissionError):
        return AccessError(
            f"This account may not use the Docker engine ({where})",
            "Let an administrator add it to the group docker (usermod -aG docker NAME), log in "
            "anew; or run this with sudo.",
        )
    if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
        return UnreachableError(
            f"The Docker engine is not running ({where})",
            "Start it: systemctl start docker.",
        )
    return UnreachableError(
        f"The Docker engine at {where} does not answer: {clean(str(error), 200)}",
        "`docker info` says more.",
    )


def _operating_system(error: BaseException | None) -> OSError | None:
    """The system's own error under those of the HTTP libraries, which hand it on as an argument."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, OSError) and each.errno is not None:
            return each
        waiting += [each.__cause__, each.__context__, *each.args]
    return None


def check() -> None:
    """See that Docker, its engine and Compose can be used; raises as `versions`."""
    versions()


def versions() -> tuple[str, str]:
    """The versions of the engine and of Compose, short: ("28.2", "5.6"); both can be used.

    Raises:
        UnreachableError: Docker, the engine or Compose is missing.
        AccessError: This account may not use the engine.
        ConsoleError: Compose is too old.
    """
    check_command()
    with Engine().calls() as client, contextlib.closing(client):
        said = clean(str(client.version().get("Version", "")), 40)
    match = re.match(r"\d+\.\d+", said)
    compose_version = _compose_version()
    if compose_version < LEAST_COMPOSE:
        raise ConsoleError(
            f"Docker Compose {_dotted(compose_version)} is too old: "
            f"{_dotted(LEAST_COMPOSE)} or newer is needed",
            COMPOSE_PACKAGE,
        )
    return match[0] if match else said, _dotted(compose_version)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def check_command() -> None:
    """See that there is a docker command.

    Raises:
        UnreachableError: There is none.
    """
    if shutil.which("docker") is None:
        raise UnreachableError(
            "Docker is not installed: there is no docker command",
            "Install it (Debian 13: apt-get install docker.io docker-compose).",
        )


def _compose_version() -> tuple[int, ...]:
    said = list(process.lines(
        ["docker", "compose", "version", "--short"], _environment({}), threading.Event()
    ))  # fmt: skip
    last = said[-1]
    match = re.search(r"(\d+)\.(\d+)", "\n".join(line for line in said if isinstance(line, str)))
    if not isinstance(last, process.Finished) or last.code != 0 or match is None:
        raise _no_compose()
    return int(match[1]), int(match[2])


def compose(
    arguments: Sequence[str],
    directory: Path,
    cancel: threading.Event,
    env: Mapping[str, str] | None = None,
) -> Iterator[str | process.Finished]:
    """Run `docker compose` in a folder and yield its lines, then how it ended.

    Args:
        arguments: What follows "docker compose"; no secret.
        directory: The folder of the project.
        cancel: Ends it.
        env: Further variables, for instance those that `exec -e NAME` hands on.

    Raises:
        UnreachableError: There is no docker command, or no Compose.
        CancelledError: `cancel` was set.
    """
    check_command()
    variables = {"COMPOSE_PROGRESS": "plain", "COMPOSE_ANSI": "never", **(env or {})}
    argv = ["docker", "compose", *arguments]
    for line in process.lines(argv, _environment(variables), cancel, directory):
        if isinstance(line, process.Finished) and line.code != 0 and _UNKNOWN.search(line.errors):
            raise _no_compose()
        yield line


def pipe(
    arguments: Sequence[str],
    directory: Path,
    env: Mapping[str, str],
    feed: Iterable[bytes] | None,
    cancel: threading.Event,
    *,
    named: str,
    listen: Callable[[str], bool] | None = None,
    ended: Callable[[], None] | None = None,
) -> Iterator[bytes]:
    """Run a docker command in a folder, as `pipes.stream` does it, and yield what it writes.

    Args:
        arguments: What follows "docker"; no secret.
        directory: The folder.
        env: Further variables, for instance those that `exec -e NAME` hands on.
        feed: As there, like the others.
        cancel: Ends it.
        named: What runs in the end.
        listen: Is given each line of stderr.
        ended: Called when it was ended early.
    """
    check_command()
    yield from pipes.stream(
        ["docker", *arguments], _environment(env), feed, cancel, directory=directory, named=named,
        listen=listen, ended=ended,
    )  # fmt: skip


def _no_compose() -> UnreachableError:
    return UnreachableError(
        "Docker Compose is missing: `docker compose` is not known here", COMPOSE_PACKAGE
    )


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Which engine is meant comes from the caller; what the project is, from its folder alone."""
    return process.environment(extra, prefixes=("DOCKER_", "SSH_AUTH_SOCK", "BUILDX_"))


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=LOOK_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def project_folders(label: str) -> list[Path]:
    """The folders of the projects that have a running container with this label."""
    labels = [row["Labels"] for row in listed(label)]
    return sorted({Path(each[DIRECTORY]) for each in labels if DIRECTORY in each})


def listed(label: str, where: str = "") -> list[dict[str, Any]]:
    """The running containers with a label, each as the engine's list has it.

    It is asked at every start, so the client library, a tenth of a second, is left out; where no
    engine answers within two seconds on a socket of this machine there are none.

    Args:
        label: Its name, or "name=value".
        where: The address of the engine; of the usual one when left out.
    """
    given = where or os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
    parts = urlsplit(given)
    if parts.scheme != "unix" or not _is_socket(parts.path):
        return []
    connection = _UnixConnection(parts.path)
    try:
        filters = quote(json.dumps({"label": [label]}))
        connection.request("GET", f"/containers/json?filters={filters}")
        rows = json.loads(connection.getresponse().read())
        return [row for row in rows if isinstance(row["Labels"], dict)]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []
    finally:
        connection.close()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
