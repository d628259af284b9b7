"""The configuration of the shipped proxy: as nginx itself reads it, else as its files say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from console.core import files
from console.core.errors import ConsoleError
from console.core.stack.anatomy import ProxyConfig, Unseen
from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver import Role
from console.core.text import clean

if TYPE_CHECKING:
    from docker.models.containers import Container

INSIDE = "/etc/mlflow-proxy"
MAIN = f"{INSIDE}/nginx.conf"
# configure.sh writes this one when the proxy starts; every name's server includes the same file.
SERVERS = "/run/mlflow-proxy/servers.conf"
_COMMANDS = 'for each in /proc/[0-9]*/cmdline; do cat "$each"; echo; done'
_OPTION = re.compile(r"nginx.* -c (\S+)")
_NAMED = re.compile(r" in (/\S+):\d+")  # where nginx found a mistake
_FILE = re.compile(r"^# configuration file (.+):$", re.M)  # a line of `nginx -T` before each file


def command(root: Path) -> str:
    """Compose for the project in a folder, from wherever it is typed."""
    return f"docker compose --project-directory {shlex.quote(str(root))}"


def config(
    project: ComposeProject, found: Mapping[str, Container], unseen: list[Unseen]
) -> ProxyConfig:
    """Read it.

    Args:
        project: The project.
        found: Its containers.
        unseen: Gets what could not be read.
    """
    name = project.name_of(Role.PROXY)
    reload = f"{command(project.paths.root)} exec {name} sh {INSIDE}/reload.sh"
    container = found.get(name)
    try:
        if container is not None and container.status == "running":
            return _asked(project, name, container, reload)
        return _from_files(project, name, reload)
    except ConsoleError as error:
        unseen.append(Unseen("the proxy's configuration", error.message, error.hint))
        return ProxyConfig(name, reload=reload)


def _asked(project: ComposeProject, name: str, container: Container, reload: str) -> ProxyConfig:
    """What `nginx -T` prints in the container; it changes nothing and opens nothing."""
    identity = str(container.id)
    # Not the engine's list of processes: Podman runs `ps` in the container, which few images have.
    _, lines, _ = project.engine.output_of(identity, ["sh", "-c", _COMMANDS])
    running = lines.replace("\0", " ")
    if "nginx" not in running:
        raise ConsoleError(f"{name} is no nginx, and others are not known here")
    match = _OPTION.search(running)
    argv = ["nginx", "-T", *(["-c", match[1]] if match else [])]
    code, said, errors = project.engine.output_of(identity, argv)
    outside = _outside(container)
    if code != 0:
        told = [line for line in errors.splitlines() if "emerg" in line] or errors.splitlines()
        error = clean(" ".join(told[:2]) or f"nginx ended with {code}", 400)
        named = {path: _on_this_machine(path, outside) for path in _NAMED.findall(error)[:1]}
        return ProxyConfig(name, outside=named, reload=reload, error=error)
    pieces = _FILE.split(said)
    texts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if not texts:
        raise ConsoleError(f"nginx in {name} does not show its configuration")
    main = match[1] if match else next(iter(texts))
    edited = {path: _on_this_machine(path, outside) for path in texts}
    return ProxyConfig(name, main, texts, edited, reload)


def _outside(container: Container) -> dict[str, str]:
    """The folders of this machine in the container, by their paths there."""
    return {
        each["Destination"]: each["Source"]
        for each in container.attrs.get("Mounts") or ()
        if each.get("Type") == "bind"
    }


def _on_this_machine(path: str, folders: Mapping[str, str]) -> str:
    above = [each for each in folders if path == each or path.startswith(each.rstrip("/") + "/")]
    if not above:
        return path
    nearest = max(above, key=len)
    return folders[nearest] + path.removeprefix(nearest)


def _from_files(project: ComposeProject, name: str, reload: str) -> ProxyConfig:
    """The deployment's own files, while nothing runs that could read them."""
    folder = project.paths.root / "nginx"
    texts: dict[str, str] = {}
    outside: dict[str, str] = {}
    for path in _files(folder):
        inside = f"{INSIDE}/{path.name}"
        with files.explained(path):
            texts[inside] = path.read_text(encoding="utf-8", errors="replace")
        outside[inside] = str(path)
    if MAIN not in texts:
        raise ConsoleError(f"{folder / 'nginx.conf'} is not there")
    names = " ".join(project.resolved.host_names())
    texts[SERVERS] = f"server {{ server_name {names}; include {INSIDE}/server.conf; }}"
    return ProxyConfig(name, MAIN, texts, outside, reload)


def _files(folder: Path) -> list[Path]:
    with files.explained(folder):
        return sorted(each for each in folder.iterdir() if each.suffix == ".conf")
