"""What changes a Compose project, through `docker compose` as a person would call it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence

from console.core import engine, files, process
from console.core.errors import (
    CancelledError,
    ConsoleError,
    NotOursError,
    SettingsError,
    UnreachableError,
    UsageError,
)
from console.core.process import Finished
from console.core.progress import Progress
from console.core.settings import HOST_NAME
from console.core.stack import compose_setup, container_logs, containers, failures
from console.core.stack.compose_project import ComposeProject
from console.core.stack.driver import Finding, Health, Program, Role, Service, State, Verb
from console.core.stack.planning import SIZES
from console.core.text import clean

START_SECONDS = 900
# One that ends at once again and again says why only the first time: MySQL on a full disk.
LINES_LOOKED_AT = 200
RECOVERY_SECONDS = 60  # a server that waited for its database is checked every ten
# A shell as comfortable as the image has it.
SHELL = "exec $(command -v bash || echo sh)"
CLIENT = (
    "umask 077; file=$(mktemp) && trap 'rm -f \"$file\"' EXIT && "
    'printf \'[client]\\npassword="%s"\\n\' "$(cat /run/stack-secrets/database-password)" '
    '>"$file" && mysql --defaults-extra-file="$file" --user=mlflow mlflow'
)
WAIT = ("--detach", "--wait", "--wait-timeout", str(START_SECONDS))


class ComposeActions:
    """The verbs that start and stop.

    Args:
        project: Whose containers they are.
    """

    def __init__(self, project: ComposeProject) -> None:
        self._project = project
        self._root = project.paths.root

    def init(self) -> Iterator[Progress]:
        """Write the project's files; images come with `up`."""
        if not compose_setup.is_written(self._root):
            compose_setup.write_files(self._root)
            yield Progress(f"{self._root}: the stack's files written")

    def act(
        self, verb: Verb, services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        """Do a verb; `services` as the driver's."""
        match verb:
            case Verb.UP:
                yield from self.init()
                yield from self._bring_up([], services, cancel)
            case Verb.START:
                yield from self._bring_up(["--no-recreate"], services, cancel)
            case Verb.RESTART:
                yield from self._restart(services, cancel)
            case Verb.RECREATE:
                options = ["--force-recreate", "--no-deps"]
                yield from self._bring_up(options, self._lasting(services), cancel)
            case Verb.STOP | Verb.DOWN | Verb.DESTROY:
                self._project.containers()  # ours, and nobody else's
                words = {Verb.DESTROY: ["down", "--volumes"]}.get(verb, [verb.value])
                with self._alone():
                    yield from self._run([*words, *services], cancel)
            case Verb.PULL:
                yield from self._run(["pull", "--ignore-buildable", *services], cancel)
            case Verb.BUILD:
                yield from self._run(["build", *services], cancel)

    def _restart(self, services: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        """Stop and start again; what was changed in the settings takes effect.

        A job that is done is left alone; where one is not, everything is brought up.
        """
        found, lasting = self._project.containers(), self._lasting(services)
        jobs = set(self._project.resolved.services) - set(self._lasting(()))
        done = all(
            name in found and containers.service(name, found[name]).health is Health.HEALTHY
            for name in jobs
        )
        there = [name for name in lasting if name in found]
        if there:
            with self._alone():
                yield from self._run(["stop", *there], cancel)
        options, which = (["--no-deps"], lasting) if done else ([], services)
        yield from self._bring_up(options, which, cancel)

    def program(self, service: str, client: bool) -> Program:
        """A shell in a service, or the client of the database in its container.

        The password of the client is in a file of the container: it goes neither over the
        terminal nor into arguments.
        """
        role = containers.role_of(self._project.resolved.services[service].labels)
        if client and role is not Role.DATABASE:
            raise UsageError(
                f"{service} is no database",
                f"The database is {self._project.name_of(Role.DATABASE)}.",
            )
        if self._project.running(service) is None:
            raise UnreachableError(f"{service} does not run", "`mlflow-console up` starts it.")
        words = CLIENT if client else SHELL
        base = ("docker", "compose", "--project-directory", str(self._root), "exec", service)
        return Program((*base, "sh", "-c", words))

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return files.locked(self._project.paths.run / "driver.lock", "the stack")

    def _lasting(self, services: Sequence[str]) -> list[str]:
        """These services; where none is named, all but the jobs."""
        return list(services) or [
            name for name, part in self._project.resolved.services.items()
            if containers.role_of(part.labels) is not Role.JOB
        ]  # fmt: skip

    def _bring_up(
        self, options: Sequence[str], services: Sequence[str], cancel: threading.Event
    ) -> Iterator[Progress]:
        with self._alone():
            self.check_start()
            try:
                yield from self._run(["up", *WAIT, *options, *services], cancel)
            except failures.UnhealthyError:
                if not self._recovers(cancel):
                    raise

    def _recovers(self, cancel: threading.Event) -> bool:
        """Whether every service becomes healthy all the same.

        Compose gives up at the first one that is unhealthy, and judges by a check from before:
        that of a server whose database has just come back.
        """
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline and not cancel.wait(2):
            now = [
                containers.service(name, each) for name, each in self._project.containers().items()
            ]
            if any(
                service.state is not State.RUNNING
                for service in now
                if service.role is not Role.JOB
            ):
                return False
            if all(service.health is Health.HEALTHY for service in now):
                return len(now) == len(self._project.resolved.services)
        return False

    def _run(self, argv: Sequence[str], cancel: threading.Event) -> Iterator[Progress]:
        command = " ".join(["docker compose", *argv])
        yield Progress(command)
        try:
            for line in engine.compose(argv, self._root, cancel):
                if not isinstance(line, Finished):
                    if line.strip():
                        yield Progress(command, said=clean(line.strip(), 200))
                elif line.code != 0:
                    raise failures.explain(line.errors, self._look_closer())
        except CancelledError as error:
            raise CancelledError(
                "Cancelled; the containers that were made stay as they are",
                "The same command goes on, `mlflow-console down` stops them.",
            ) from error

    def findings(self, services: Sequence[Service]) -> list[Finding]:
        """What ended or is not well, and what its log says of it."""
        broken = [each for each in services if failures.is_broken(each)]
        return failures.findings(services, self._heard(broken) if broken else [])

    def _look_closer(self) -> list[failures.Ended]:
        """What the containers themselves say when Compose has failed."""
        try:
            found = self._project.containers()
            services = [containers.service(name, each) for name, each in found.items()]
            return self._heard([each for each in services if failures.is_broken(each)])
        except ConsoleError:
            return []

    def _heard(self, broken: Sequence[Service]) -> list[failures.Ended]:
        found = self._project.seen
        return [
            failures.Ended(each, [line.text for line in container_logs.tail(
                {each.name: found[each.name]}, LINES_LOOKED_AT)])
            for each in broken
            if each.name in found
        ]  # fmt: skip

    def check_start(self) -> None:
        """What .env says can be meant, and nobody else has the project's name or its ports."""
        engine.check()
        self._check_values()
        running = {
            port for each in self._project.containers().values() if each.status == "running"
            for port in containers.bound(each)
        }  # fmt: skip
        for port in sorted(self._project.ports - running):
            if not process.port_is_free(port):
                who = process.listener(port) or "a process of another account"
                raise NotOursError(
                    f"Port {port} is taken by {who}",
                    f"End that program, or set another port in {self._root / '.env'} "
                    f"({process.free_port(port + 1, self._project.ports)} is free).",
                )

    def _check_values(self) -> None:
        """What the services themselves would only say in their logs, over and over."""
        wrong = [
            name
            for name in self._project.resolved.host_names()
            if not re.fullmatch(HOST_NAME, name)
        ]
        size = self._project.resolved.value(self._project.name_of(Role.TRACKING), "STACK_SIZE")
        if wrong:
            raise SettingsError(
                f"{clean(wrong[0])!r} in {self._project.host_names_setting} is not a host name",
                "Give names like mlflow.lab, separated by commas.",
            )
        if size not in SIZES:
            raise SettingsError(
                f"STACK_SIZE in {self._root / '.env'} is {clean(size)!r}",
                f"It can be {' or '.join(SIZES)}.",
            )
