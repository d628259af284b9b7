"""Starts the tracking server: what .env says becomes MLflow's own variables and options.

MLflow listens on a unix socket alone. A container's address answers every account of the machine;
the socket lies in a volume that only the proxy shares.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from mlflow_console_server import serve

SECRETS = Path("/run/stack-secrets")
SOCKET = "/run/tracking/mlflow.sock"
#: The proxy's name inside of the stack, for programs that run beside the server.
INNER_NAME = "proxy.internal"
#: How long an idle connection is kept: longer than the proxy keeps it (nginx.conf).
KEPT_SECONDS = 75
#: Workers by STACK_SIZE: one takes about 0.35 GB.
WORKERS = {"small": "1", "standard": "4"}


def main() -> None:
    """Become the server.

    Raises:
        SystemExit: STACK_SIZE is none of the known ones.
    """
    size = os.environ.get("STACK_SIZE", "small")
    if size not in WORKERS:
        raise SystemExit(f"STACK_SIZE is {size!r}; it can be {' or '.join(WORKERS)}.")
    bucket = os.environ.get("STORE_BUCKET", "mlflow")
    os.environ |= environment()
    serve.main([
        "--app-name", "stack", "--workers", WORKERS[size],
        "--uvicorn-opts", f"--uds {SOCKET} --timeout-keep-alive {KEPT_SECONDS}",
        "--artifacts-destination", f"s3://{bucket}", "--serve-artifacts",
    ])  # fmt: skip


def environment() -> dict[str, str]:
    """The variables of MLflow and boto3; passwords go here and never into arguments."""
    listed = os.environ.get("VIRTUAL_HOST", "localhost").split(",")
    names = [name.strip() for name in listed if name.strip()]
    hosts = [f"{name}{port}" for name in (*names, INNER_NAME) for port in ("", ":*")]
    password = quote(secret("database-password"), safe="")
    return {
        "MLFLOW_BACKEND_STORE_URI": f"mysql+pymysql://mlflow:{password}@database:3306/mlflow"
        "?charset=utf8mb4",
        "MLFLOW_S3_ENDPOINT_URL": "http://store:9000",
        "AWS_ACCESS_KEY_ID": secret("store-access-key"),
        "AWS_SECRET_ACCESS_KEY": secret("store-secret-key"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts
        ),
    }


def secret(name: str) -> str:
    """One of the stack's secrets; see prepare.py."""
    return (SECRETS / name).read_text(encoding="utf-8").strip()


if __name__ == "__main__":
    main()
