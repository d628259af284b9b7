"""What a snapshot is: a folder that a person can read without this tool.

    <id>/
      manifest.json         what this is, in numbers
      SHA256SUMS            of every file of this folder but the last three: `sha256sum -c`
      SHA256SUMS.sha256     of SHA256SUMS: `sha256sum -c`
      state.json            what has been found out since: verified, drilled, broken files
      database/mlflow.sql.gz  or database/mlflow.db.gz
      catalog.jsonl.gz      the experiments and runs in the dump
      artifacts/<key>       every artifact as a plain file
      odd/<sha256 of key>   those whose key can be no file name
      artifacts.jsonl.gz    one line an artifact: key, size, what the store said of it, SHA-256
      changed.jsonl.gz      what changed, or went, after the dump began
      deployment/...        console.toml, htpasswd/, certs/, secrets/, .env, ...

It is made in `.making/`, synced and renamed, so that it exists whole or not at all.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

FORMAT = 1

MANIFEST, SUMS, SEAL, STATE = "manifest.json", "SHA256SUMS", "SHA256SUMS.sha256", "state.json"
CATALOG, INDEX, CHANGED = "catalog.jsonl.gz", "artifacts.jsonl.gz", "changed.jsonl.gz"
DATABASE, ARTIFACTS, ODD, DEPLOYMENT = "database", "artifacts", "odd", "deployment"
MAKING = ".making"
"""The snapshot that is being made, or that an interrupted call has left to be gone on with."""
PRUNING = ".pruning-"
"""What a snapshot is called while it is removed."""

Part = Literal["database", "artifacts", "users", "settings"]
PARTS: tuple[Part, ...] = ("database", "artifacts", "users", "settings")


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """The dump of the backend store.

    Attributes:
        kind: What it was taken of, and so what can read it.
        file: Relative to the snapshot.
        bytes: Of the file, compressed.
        revision: Of MLflow's schema.
        rows: By table, counted in the dump itself.
        began_at: UTC, by this machine's clock.
    """

    kind: Literal["sqlite", "mysql"]
    file: str
    bytes: int
    revision: str | None
    rows: dict[str, int]
    began_at: datetime

    @property
    def runs(self) -> int:
        """How many runs it holds, deleted ones too."""
        return self.rows.get("runs", 0)

    @property
    def experiments(self) -> int:
        """How many experiments it holds, deleted ones too."""
        return self.rows.get("experiments", 0)


class Artifacts(msgspec.Struct, frozen=True, kw_only=True):
    """The artifacts of a snapshot in numbers.

    Attributes:
        new_bytes: What was not there already, in this place or twice in the store.
        changed, gone, unread: How many are named in `changed.jsonl.gz`: changed after the dump
            began, gone between listing and copying, and not readable.
    """

    objects: int
    bytes: int
    new_bytes: int
    changed: int = 0
    gone: int = 0
    unread: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """manifest.json.

    Attributes:
        id: The folder's name: the moment it was begun, UTC, "20261128-080000".
        sequence: Counts up in its place, whatever the clock does; the order of snapshots.
        label: A pinned snapshot's; "" for none.
        reason: Why it was made.
        deployment, driver: Whose it is.
        directory: Where that deployment was.
        created_at: When it was begun; `completed_at` when it was whole. UTC.
        console: The version of this tool.
        versions: Of the parts, by service: {"tracking": "3.17.2", "database": "9.7.1"}.
        images: The image digests by service; empty without containers.
        parts: What it holds; all of PARTS unless `--only` was given.
        modes: Of the files in deployment/, as "0644", for targets that keep none.
        bytes: Of everything in it; `new_bytes` of what is not shared with other snapshots.
    """

    id: str
    sequence: int
    label: str = ""
    reason: Literal["asked", "scheduled", "safety"] = "asked"
    deployment: str
    driver: str
    directory: str
    created_at: datetime
    completed_at: datetime
    console: str
    versions: dict[str, str]
    images: dict[str, str]
    parts: tuple[Part, ...]
    database: Dump | None = None
    artifacts: Artifacts | None = None
    modes: dict[str, str] = {}
    bytes: int = 0
    new_bytes: int = 0
    format: int = FORMAT

    @property
    def complete(self) -> bool:
        """It holds all parts."""
        return set(self.parts) == set(PARTS)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """state.json: what was found out of a snapshot after it was made.

    Attributes:
        verified_at: When every byte was last read and found right.
        drilled_at: When it was last restored into scratch parts and found right.
        drill_error: Why the last drill failed; "" when it passed, or was never done.
        broken: Files that are not as they were written, relative to the snapshot; at most
            MOST_BROKEN of them.
        broken_count: How many there are in all.
    """

    verified_at: datetime | None = None
    drilled_at: datetime | None = None
    drill_error: str = ""
    drill_failed_at: datetime | None = None
    broken: tuple[str, ...] = ()
    broken_count: int = 0
    format: int = FORMAT


MOST_BROKEN = 100


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One artifact: a line of `artifacts.jsonl.gz`.

    Attributes:
        key: As the store has it, relative to the store's root; of what is no UTF-8, what can be
            shown of it.
        size: Bytes.
        modified: When the store says that it was written, milliseconds since 1970.
        mark: What is another one when the content is: an ETag, or times and inode of a file.
        sha256: Of the content, 64 hexadecimal digits.
        path: Relative to the snapshot, where it is not "artifacts/" and the key.
        raw: The key's bytes, base64 in JSON, where they are no UTF-8.
    """

    key: str
    size: int
    modified: int
    mark: str
    sha256: str
    path: str = ""
    raw: bytes = b""

    @property
    def name(self) -> str:
        """The key as the stores take it: what is no UTF-8 as surrogate escapes (PEP 383)."""
        return self.raw.decode("utf-8", "surrogateescape") if self.raw else self.key

    @property
    def key_bytes(self) -> bytes:
        """The key by whose order stores list."""
        return self.raw or self.key.encode()

    @property
    def file(self) -> str:
        """Where it lies, relative to the snapshot."""
        return self.path or f"{ARTIFACTS}/{self.name}"


class Change(msgspec.Struct, frozen=True):
    """One line of `changed.jsonl.gz`."""

    key: str
    what: Literal["changed", "gone", "unread"]
    why: str = ""


class Experiment(msgspec.Struct, frozen=True, tag="experiment", tag_field="kind"):
    """An experiment in the dump; lines of `catalog.jsonl.gz`."""

    experiment_id: str
    name: str
    lifecycle_stage: str
    artifact_location: str


class Run(msgspec.Struct, frozen=True, tag="run", tag_field="kind", gc=False):
    """A run in the dump; lines of `catalog.jsonl.gz`, after the experiments.

    Attributes:
        started, ended: Milliseconds since 1970; None where MLflow has none.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    lifecycle_stage: str
    user: str
    started: int | None
    ended: int | None


class Snapshot(msgspec.Struct, frozen=True):
    """One snapshot in its place.

    Attributes:
        problem: Why it cannot be used, in words; "" when its manifest could be read.
    """

    path: Path
    manifest: Manifest | None
    state: State
    problem: str = ""

    @property
    def id(self) -> str:
        return self.path.name
