"""One real server for the whole run, and private ones for tests that break theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from console.core.deployment import Deployment
from console.core.secrets import Secret
from tests.support import deployments, engine

ALICE = ("alice", Secret("correct horse battery"))


@pytest.fixture(scope="session")
def real_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A healthy deployment with the user `alice`, shared: leave it running and in order.

    Tests that use it belong to one worker, where it is started once:
    `pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("real")]`.
    """
    directory = tmp_path_factory.mktemp("shared") / "lab"
    with deployments.ended(directory):
        deployment = deployments.create(directory, ALICE)
        deployments.up(deployment)
        yield deployment
        deployments.down(deployment)
        assert deployments.processes(directory) == []


@pytest.fixture
def second_engine() -> Iterator[engine.OwnEngine]:
    """A Docker engine beside the machine's, to be stopped and started again."""
    with engine.own_engine(sorted(set(engine.images().values()))) as own:
        yield own


@pytest.fixture
def make_deployment(tmp_path: Path) -> Iterator[Callable[[str], Deployment]]:
    """Set up private deployments, by name; they are not started, but ended for certain."""
    with ExitStack() as stack:

        def make(name: str) -> Deployment:
            directory = tmp_path / name
            stack.enter_context(deployments.ended(directory))
            return deployments.create(directory)

        yield make
