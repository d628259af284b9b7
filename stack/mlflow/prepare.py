"""The jobs of the stack, each done when there is nothing left to do.

    python prepare.py secrets    before everything: the stack's passwords, as files in a volume
    python prepare.py bucket     once the store answers: the bucket, private
    python prepare.py migrate    by hand, after a dump: the database to this MLflow's schema

A secret that .env leaves empty is made up once and kept in the volume.
"""

from __future__ import annotations

import os
import secrets
import sys

from tracking import SECRETS, environment, secret

#: File and variable of each secret.
NAMES = {
    "database-password": "DATABASE_PASSWORD",
    "database-root-password": "DATABASE_ROOT_PASSWORD",
    "store-access-key": "STORE_ACCESS_KEY",
    "store-secret-key": "STORE_SECRET_KEY",
}


def make_secrets() -> None:
    """Write each secret whole: the given one, else the one that is there, else a new one.

    The services run as accounts of their own, so the files are readable; the volume is mounted
    by them alone.
    """
    for name, variable in NAMES.items():
        path = SECRETS / name
        given = os.environ.get(variable, "")
        if not given and path.exists() and path.stat().st_size:
            continue
        fresh = path.with_suffix(".new")
        fresh.write_text(given or secrets.token_hex(16), encoding="utf-8")
        fresh.chmod(0o444)
        fresh.replace(path)


def make_bucket() -> None:
    """Make the bucket unless it is there; no policy is set, so that it stays private."""
    import boto3  # noqa: PLC0415  # the other job does without
    from botocore.exceptions import ClientError  # noqa: PLC0415  # as above

    store = boto3.client(
        "s3", endpoint_url="http://store:9000", region_name="us-east-1",
        aws_access_key_id=secret("store-access-key"),
        aws_secret_access_key=secret("store-secret-key"),
    )  # fmt: skip
    bucket = os.environ.get("STORE_BUCKET", "mlflow")
    try:
        store.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise SystemExit(f"The store refuses the bucket {bucket}: {error}") from None
        store.create_bucket(Bucket=bucket)
        print(f"The bucket {bucket} is made.")
    else:
        print(f"The bucket {bucket} is there.")


def migrate() -> None:
    """`mlflow db upgrade` without the database's password in an argument."""
    from mlflow import db  # noqa: PLC0415  # the other jobs do without

    db.upgrade.callback(environment()["MLFLOW_BACKEND_STORE_URI"])


JOBS = {"secrets": make_secrets, "bucket": make_bucket, "migrate": migrate}

if __name__ == "__main__":
    JOBS[sys.argv[1]]()
