"""A dump of an older MLflow comes back into a newer one, with its runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from console.core.stack.driver import Role
from tests.support import deployments, snapshots, stacks

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("backup-older-schema"),
    pytest.mark.timeout(600),
]

ALICE = ("alice", "correct horse battery")
RUN = "0123456789abcdef" * 2
# MLflow's own migrations, up to one of some versions ago, in an empty database.
SCRIPT = """
import sys
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
url = sys.argv[1] if len(sys.argv) > 1 else None
if url is None:
    import tracking
    url = tracking.environment()["MLFLOW_BACKEND_STORE_URI"]
engine = sa.create_engine(url)
with engine.begin() as connection:
    if engine.name == "mysql":
        connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 0"))
    for table in sa.inspect(connection).get_table_names():
        connection.execute(sa.text(f"DROP TABLE {table}"))
Base.metadata.create_all(engine)
config = _get_alembic_config(url)
older = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()][8]
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, older)
with engine.begin() as connection:
    for statement in (
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
        "VALUES (7, 'of old', 'mlflow-artifacts:/7', 'active')",
        "INSERT INTO runs (run_uuid, name, status, lifecycle_stage, artifact_uri, experiment_id, "
        "source_type, user_id, start_time) VALUES (:run, 'old', 'FINISHED', 'active', "
        "'mlflow-artifacts:/7/old/artifacts', 7, 'LOCAL', 'ada', 1700000000000)",
        "INSERT INTO params (`key`, value, run_uuid) VALUES ('depth', '3', :run)",
    ):
        named = {"run": "0123456789abcdef" * 2} if ":run" in statement else {}
        connection.execute(sa.text(statement), named)
print("older", older)
"""


@pytest.fixture(params=["compose", "embedded"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    directory = tmp_path / "lab-older"
    user = (ALICE[0], Secret(ALICE[1]))
    if request.param == "compose":
        with stacks.stack(directory, user) as deployment:
            deployments.up(deployment)
            yield deployment
    else:
        with deployments.ended(directory):
            deployment = deployments.create(directory, user)
            deployments.up(deployment)
            yield deployment
            deployments.down(deployment)


def grow_old(deployment: Deployment) -> str:
    """Make its database one of an older MLflow, with one run in it; its revision."""
    argv = ["python", "-c", SCRIPT]
    if deployment.settings.driver == "embedded":
        deployments.down(deployment)
        deployment.paths.database.unlink()
        argv.append(f"sqlite:///{deployment.paths.database}")
    said = list(deployment.driver.run_in(Role.TRACKING, argv, {}, threading.Event()))
    return next(line.split()[1] for line in said if line.startswith("older "))


def test_it_is_migrated_on_the_way(running: Deployment, tmp_path: Path) -> None:
    head = running.database.revision()
    running.backup.choose(tmp_path / "snapshots")
    snapshots.perform(running, "backup.create", label="new")
    older = grow_old(running)
    snapshots.perform(running, "backup.create", label="old")
    old = running.backup.show("old")
    assert old.manifest is not None
    assert old.manifest.database is not None
    assert old.manifest.database.revision == older != head
    snapshots.perform(running, "backup.restore", wanted=running.backup.show("new").id)
    assert running.database.revision() == head
    assert any("schema" in line for line in running.backup.restore_plan("old").lines)
    snapshots.perform(running, "backup.restore", wanted=old.id)
    assert running.database.revision() == head
    with snapshots.client(running, ALICE) as client:
        assert client.get_run(RUN).data.params == {"depth": "3"}
        assert client.get_experiment("7").name == "of old"
    assert running.stack.status().healthy
