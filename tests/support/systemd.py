"""A machine of a test's own: a container whose first process is systemd, with this checkout in it.

Nothing of it reaches the network. Where cgroups have version 1, systemd wants their tree and the
capability to mount; `--privileged` would give it the devices of this machine as well.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.images.recipes import REPOSITORY, SYSTEMD
from tests.support import engine, unavailable

BIN = Path(sys.prefix) / "bin"
PROGRAM = BIN / "mlflow-console"
BOOT_SECONDS = 60


@dataclass(frozen=True)
class Done:
    """How a program in the machine ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """A running machine.

    Attributes:
        name: Of its container.
    """

    name: str

    def run(self, *command: str | Path, user: str = "root", stdin: str = "") -> Done:
        """Run a program as an account, without any session of it."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--user", user, "--workdir", "/", self.name,
             *command],
            input=stdin, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *command: str | Path, user: str = "root", stdin: str = "") -> str:
        """What a program prints that has to succeed."""
        done = self.run(*command, user=user, stdin=stdin)
        assert done.code == 0, f"{shlex.join(map(str, command))}: {done.out}{done.err}"
        return done.out

    def shell(self, script: str, user: str = "root") -> str:
        """What a script prints that has to succeed."""
        return self.must("sh", "-ec", script, user=user)

    def copy(self, folder: Path) -> None:
        """Have a folder of this machine there as well, at the same path, as root's own."""
        self.must("mkdir", "--parents", folder.parent)
        engine.docker("cp", str(folder), f"{self.name}:{folder.parent}")

    def receive(self, port: int, file: str) -> str:
        """Start a receiver of messages on loopback; returns its address for apprise."""
        python = shlex.quote(str(BIN / "python"))
        receiver = f"cd {REPOSITORY}; {python} -m tests.support.receiver {port} {file}"
        self.shell(f": >{file}; {receiver} >/dev/null 2>&1 &")
        return f"json://127.0.0.1:{port}"

    def journal(self) -> str:
        """All that was logged, for who looks for what must not be in it."""
        return self.must("journalctl", "--no-pager", "--output=cat")


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine that has booted, gone afterwards."""
    try:
        engine.docker("image", "inspect", SYSTEMD.tag)
    except (AssertionError, FileNotFoundError) as error:
        unavailable(f"there is no engine, or no image with systemd: make images ({error})")
    # Both of the links on the way to an interpreter: the environment's, and what that leads to.
    shown = {REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr")}
    options = [f"--volume={path}:{path}:ro" for path in sorted(shown)]
    options += [
        "--network=none", "--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined",
        "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup",
        "--tmpfs=/run", "--tmpfs=/run/lock",
        "--env=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    ]  # fmt: skip
    with engine.container(SYSTEMD.tag, run=options) as name:
        there = Machine(name)
        states = ("running", "degraded")
        engine.wait_until(
            lambda: there.run("systemctl", "is-system-running").out.strip() in states,
            BOOT_SECONDS, "systemd has booted",
        )  # fmt: skip
        version = there.run(PROGRAM, "--version")
        if version.code != 0:
            unavailable(f"the machine cannot run this checkout: {version.err.strip()}")
        yield there
