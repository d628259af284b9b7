"""What somebody needs to log runs: address, variables, five lines of Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from console.core.deployment import Deployment
from console.core.secrets import Secret

LOOPBACK = ("localhost", "127.0.0.1")
HIDDEN = "..."


@dataclass(frozen=True, slots=True)
class Handover:
    """What is handed over to a user; the JSON shape of `users handover`.

    Attributes:
        url: Where MLflow clients reach the tracking server.
        forward: The arguments of ssh, but for the host, where it listens on loopback alone.
        certificate: The file that a client has to be given, where no authority signed it.
        exports: Lines for a shell.
        program: Lines of Python.
        note: Why the user gets nowhere with it now, "" when nothing is in the way.
    """

    url: str
    forward: str
    certificate: str
    exports: tuple[str, ...]
    program: tuple[str, ...]
    note: str = ""

    @property
    def text(self) -> str:
        """All of it: a part to be pasted into a shell, and one into Python."""
        lines = ["In the shell:"]
        if self.note:
            lines += [f"# {self.note}"]
        if self.forward:
            lines += [
                f"# From another machine, first: ssh -N {self.forward} HOST",
                "# (HOST is the machine of the server, as ssh reaches it)",
            ]
        if self.certificate:
            lines += [f"# Its certificate is self-signed: copy {self.certificate} over"]
        return "\n".join([*lines, *self.exports, "", "In Python:", *self.program]) + "\n"


def handover(
    deployment: Deployment, name: str, host: str, password: Secret | None, note: str = ""
) -> Handover:
    """What a user needs.

    Args:
        deployment: Where.
        name: The user's.
        host: The host name whose file holds the user, or "default".
        password: None leaves it out, to be sent by another way.
        note: Why the user gets nowhere with it now.
    """
    driver = deployment.driver
    url = driver.url_of(host) if host in driver.host_names else driver.url
    parts = urlsplit(url)
    near = parts.hostname in LOOPBACK
    served = driver.certificate_of(parts.hostname or "")
    certificate = str(served) if served is not None and _signs_itself(served) else ""
    variables = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": HIDDEN if password is None else password.reveal(),
    }
    if certificate:
        variables["MLFLOW_TRACKING_SERVER_CERT_PATH"] = certificate.rpartition("/")[2]
    port = parts.port or 80
    return Handover(
        url=url,
        forward=f"-L {port}:127.0.0.1:{port}" if near else "",
        certificate=certificate,
        exports=tuple(
            f"export {key}={value if value == HIDDEN else shlex.quote(value)}"
            for key, value in variables.items()
        ),
        program=(
            "import mlflow",
            f"mlflow.set_tracking_uri({url!r})",
            'mlflow.set_experiment("first-steps")',
            "with mlflow.start_run():",
            '    mlflow.log_metric("loss", 0.5)',
        ),
        note=note,
    )


def _signs_itself(path: Path) -> bool:
    """Whether no authority vouches for a certificate, so that clients have to be given it."""
    from cryptography import x509  # noqa: PLC0415  # first use

    try:
        parsed = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return parsed.issuer == parsed.subject
