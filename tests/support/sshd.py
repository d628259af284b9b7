"""A real sshd on loopback, with keys of its own, for as long as a test runs."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or ""


def available() -> bool:
    """Whether sshd, ssh and ssh-keygen are installed."""
    return bool(PROGRAM and shutil.which("ssh") and shutil.which("ssh-keygen"))


@contextmanager
def sshd(folder: Path) -> Iterator[list[str]]:
    """Start it; yields the `ssh` command, to be followed by what is to be run there.

    Args:
        folder: An empty folder for keys and configuration.
    """
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                       check=True)  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    config = folder / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nPermitUserEnvironment no\n"
        f"AcceptEnv LANG LC_*\nPidFile {folder}/pid\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd wants its empty folder
    server = subprocess.Popen([PROGRAM, "-D", "-e", "-f", str(config)],
                              stderr=(folder / "log").open("w"))  # fmt: skip
    try:
        _wait(port)
        yield ["ssh", "-q", "-p", str(port), "-i", str(folder / "client"),
               "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known",
               "-o", "IdentitiesOnly=yes", "-F", "none",
               f"{getpass.getuser()}@127.0.0.1"]  # fmt: skip
    finally:
        server.terminate()
        server.wait(10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("sshd did not start")
