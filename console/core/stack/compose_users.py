"""How the proxy of a Compose project gets at the user files, in its files and as it runs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from console.core import engine, files
from console.core.errors import ConsoleError
from console.core.stack import generation
from console.core.stack.anatomy import Kind, Mount
from console.core.stack.compose_anatomy import mounts, planned_mounts, under
from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver import Guard, Role
from console.core.stack.project import Part
from console.core.text import clean

# For how long the proxy remembers that a password was right (stack/nginx/verify.conf).
REMEMBERED_SECONDS = 30
INSIDE = "/etc/nginx/htpasswd"
# `htpasswd -c FILE` makes a file anew; so does a shell's `> FILE`.
_WRITES = re.compile(
    r"(?:^|[\s/;&|(])htpasswd\s+(?:[^\s;&|]+\s+)*?-\w*c\w*\s|[^>]>(?!>)\s*\S*htpasswd"
)
_MAKES = re.compile(r"(?:^|_)(?:BASIC_AUTH|HTPASSWD)(?:_|$)(?!.*(?:FILE|PATH|REALM|MESSAGE)$)")
_OWN_LOGIN = re.compile(r"--app-name[\s=]+[\"']?basic-auth\b")
OWN_LOGIN_SETTING = "MLFLOW_AUTH_CONFIG_PATH"


def guard(project: ComposeProject) -> Guard:
    """Look at the project, and where its engine answers at what runs.

    Raises:
        ConsoleError: The project's files cannot be read.
    """
    users = project.paths.users.parent
    proxy, tracking = project.name_of(Role.PROXY), project.name_of(Role.TRACKING)
    planned = project.resolved.services
    now = {name: row for name, row in _running(project).items() if name in (proxy, tracking)}
    words = {
        name: " ".join((*(planned[name].entrypoint or ()), *(planned[name].command or ()),
                        str(now.get(name, {}).get("Command", ""))))
        for name in (proxy, tracking)
    }  # fmt: skip
    files_of_users = [users / name for name in ("default", *project.resolved.host_names())]
    mounted = planned_mounts(planned[proxy])
    held = [mounted, mounts(now[proxy])] if proxy in now else [mounted]
    alone = {path.name for path in files_of_users if any(_alone(path, each) for each in held)}
    written = _WRITES.search(words[proxy])
    void = {
        path.name: f"{proxy} writes its user file when it starts (its command does): a change of "
        f"{path} would be lost, or count for nothing" if written else
        f"{path} is not what {proxy} reads: {_instead(path.name, mounted)}"
        for path in files_of_users if written or not _reached(path, mounted)
    }  # fmt: skip
    return Guard(
        alone=frozenset(alone),
        void=void,
        remedy=(
            f"Take that out of the command of {proxy}, then mlflow-console up." if written else
            f"In {project.paths.root} let the service {proxy} mount ./htpasswd:{INSIDE}:ro, then "
            "mlflow-console up."
        ),
        later="" if all(_reached(users / generation.FOLDER, each) for each in held) else
        f"That counts within {REMEMBERED_SECONDS} s: {proxy} does not see the folder {users}, by "
        "which it would know at once",
        doubts=tuple(_doubts(proxy, planned[proxy])),
        notes=(
            *(f"{path} is mounted by itself: it is rewritten in place, and what replaces it "
              f"(an editor, sed -i) is not seen by {proxy} before its next start"
              for path in files_of_users if path.name in alone),
            *_own_login(planned[tracking], words[tracking]),
            *_edited_by_hand(users, files_of_users),
        ),
    )  # fmt: skip


def _running(project: ComposeProject) -> dict[str, dict[str, object]]:
    """What runs of it, by service; nothing where the engine cannot be asked."""
    try:
        rows = engine.listed(f"{engine.PROJECT}={project.resolved.name}", project.engine.address)
    except ConsoleError:
        return {}
    return {
        row["Labels"].get(engine.SERVICE, ""): row
        for row in rows
        if row["Labels"].get(engine.DIRECTORY) == str(project.paths.root)
    }


def _alone(path: Path, mounted: Sequence[Mount]) -> bool:
    real = os.path.realpath(path)
    return any(each.what and os.path.realpath(each.what) == real for each in mounted)


def _reached(path: Path, mounted: list[Mount]) -> bool:
    """Whether a mount leads to a path of this machine, and no other one lies over it."""
    real = Path(os.path.realpath(path))
    for each in mounted:
        outside = Path(os.path.realpath(each.what)) if each.what.startswith("/") else None
        if outside is not None and real.is_relative_to(outside):
            inside = PurePosixPath(each.path) / real.relative_to(outside)
            if under(str(inside), mounted) is each:
                return True
    return False


def _instead(name: str, mounted: list[Mount]) -> str:
    """Where the proxy has its user file, when not in ours."""
    nearest = under(f"{INSIDE}/{name}", mounted)
    if nearest.what:
        return f"what it reads lies in {clean(nearest.what)}"
    if nearest.kind is Kind.MEMORY:
        return "what it reads lies in memory, so it is written when it starts"
    return "none of its mounts holds it, so that lies in its image, or is written when it starts"


def _doubts(proxy: str, planned: Part) -> Iterator[str]:
    for name, value in planned.environment.items():
        if value and _MAKES.search(name):
            yield (
                f"{clean(name)} is set for {proxy}: where its image makes the user file of that, "
                "a change here is lost with its next start"
            )


def _own_login(planned: Part, words: str) -> Iterator[str]:
    why = "--app-name basic-auth" if _OWN_LOGIN.search(words) else ""
    if not why and planned.environment.get(OWN_LOGIN_SETTING):
        why = f"{OWN_LOGIN_SETTING} is set"
    if why:
        yield (
            f"MLflow asks for a log-in of its own ({why}): its users stand in a database of its "
            "own, and these files are not what guards it"
        )


def _edited_by_hand(users: Path, files_of_users: Sequence[Path]) -> Iterator[str]:
    """Edits that no turn of the generation came after; what is older than a verdict counts."""
    with files.explained(users):
        turned = _changed(users / generation.FOLDER, 0.0)
        for path in files_of_users:
            at = _changed(path, 0.0)
            if at > turned and time.time() - at < REMEMBERED_SECONDS:
                yield (
                    f"{path} was edited outside of the console just now: that counts within "
                    f"{REMEMBERED_SECONDS} s"
                )


def _changed(path: Path, missing: float) -> float:
    try:
        return path.stat().st_ctime
    except FileNotFoundError:
        return missing
