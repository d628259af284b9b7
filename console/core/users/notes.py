"""What a person has to know of the user files beside who stands in them."""

from __future__ import annotations

from collections.abc import Iterator

from console.core import files
from console.core.deployment import Deployment
from console.core.text import clean
from console.core.users.user_files import LOST_HINT, SHARED, UserFiles


def notes(deployment: Deployment, user_files: UserFiles) -> list[str]:
    """One sentence each, for instance a junk line's number, or why a change would be in vain.

    No note holds a hash, or the text of a line that is no user's: it may be a password.
    """
    path, hosts = deployment.paths.users, user_files.hosts()
    guard = deployment.driver.guard()
    told = [guard.void[host] for host in hosts if host in guard.void]
    told += [*guard.doubts, *guard.notes]
    with files.explained(path):
        if user_files.lost:
            return [
                *map(clean, told),
                f"The user file {path} is missing: nobody can log in. {LOST_HINT}",
            ]
        if not path.exists():
            return [*map(clean, told), f"There is no user file {path} yet: nobody can log in"]
    for host in hosts:
        told += _of_file(deployment, user_files, host)
    if not deployment.driver.own_user_files:
        told += [
            f"{other} counts for nothing: this server knows the shared file alone"
            for other in user_files.others()
        ]
    return [clean(each, 400) for each in told]


def _of_file(deployment: Deployment, user_files: UserFiles, host: str) -> Iterator[str]:
    file, own = user_files.of(host).read(), deployment.settings.users.service_user
    where = "" if host == SHARED else f"{host}: "
    yield from (where + oddity for oddity in file.oddities())
    if file.find(own) is None:
        yield (
            f"{where}The console's own user {own} is not in the file, so its checks of the server "
            "are refused: `mlflow-console users renew` puts it back"
        )
