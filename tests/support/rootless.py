"""A rootless Docker engine of an account of its own, for as long as a test runs; needs root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import engine, unavailable

# Where Debian, and Docker's own packages, put the script.
SCRIPTS = ("/usr/share/docker.io/contrib/dockerd-rootless.sh", "/usr/bin/dockerd-rootless.sh")
TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Rootless:
    """A running engine.

    Attributes:
        uid: The account that it belongs to, and of its group.
        home: The account's home.
        address: For DOCKER_HOST.
    """

    uid: int
    home: Path
    address: str


@contextmanager
def rootless() -> Iterator[Rootless]:
    """Make an account, start an engine under it, and bring the images for tests there."""
    engine.require_engine()
    script = next((each for each in SCRIPTS if Path(each).exists()), None)
    lacking = [each for each in ("rootlesskit", "slirp4netns", "newuidmap", "unshare", "runuser")
               if shutil.which(each) is None]  # fmt: skip
    if os.geteuid() != 0 or script is None or lacking or not TUN.exists():
        unavailable(f"no rootless engine can be had here ({', '.join(lacking) or 'see rootless'})")
    name = f"rl{secrets.token_hex(4)}"
    with ExitStack() as stack:
        subprocess.run(["useradd", "--create-home", name], check=True)
        stack.callback(subprocess.run, ["userdel", "--remove", name], check=False,
                       capture_output=True)  # fmt: skip
        account = pwd.getpwnam(name)
        home, runtime = Path(account.pw_dir), Path(f"/run/user/{account.pw_uid}")
        runtime.mkdir(mode=0o700, parents=True)
        stack.callback(shutil.rmtree, runtime, ignore_errors=True)
        os.chown(runtime, account.pw_uid, account.pw_gid)
        mode = TUN.stat().st_mode & 0o777
        TUN.chmod(0o666)  # as udev leaves it where it runs
        stack.callback(TUN.chmod, mode)
        address = f"unix://{runtime}/docker.sock"
        stack.enter_context(_engine(name, home, runtime, script))
        engine.wait_until(lambda: _answers(address), 60)
        save = subprocess.Popen(["docker", "save", *engine.images().values()],
                                stdout=subprocess.PIPE)  # fmt: skip
        subprocess.run(["docker", "--host", address, "load"], stdin=save.stdout, check=True,
                       capture_output=True)  # fmt: skip
        assert save.wait() == 0
        yield Rootless(account.pw_uid, home, address)


@contextmanager
def _engine(name: str, home: Path, runtime: Path, script: str) -> Iterator[None]:
    """The engine's processes, in a mount namespace with a /tmp that this account may use."""
    command = (
        f"mount -t tmpfs -o mode=1777 tmpfs /tmp && exec runuser -u {name} -- env HOME={home} "
        f"XDG_RUNTIME_DIR={runtime} PATH=/usr/sbin:/usr/bin:/sbin:/bin "
        f"DOCKERD_ROOTLESS_ROOTLESSKIT_NET=slirp4netns sh {script}"
    )
    with (home / "engine.log").open("w") as log:
        child = subprocess.Popen(["unshare", "--mount", "sh", "-c", command], stdout=log,
                                 stderr=log, start_new_session=True)  # fmt: skip
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)


def _answers(address: str) -> bool:
    done = subprocess.run(["docker", "--host", address, "version"], check=False,
                          capture_output=True)  # fmt: skip
    return done.returncode == 0
