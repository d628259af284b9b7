"""Who changed what: the person behind sudo and SSH, whatever bytes a path is made of."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from console.core import audit
from console.core.errors import AccessError
from tests.support import machine


def test_who_did_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = audit.entry("users.add", "alice", "lab", tmp_path, outcome="done")
    assert (entry.sudo_user, entry.ssh_client, entry.format) == (None, None, 1)
    assert entry.user == audit.account()
    assert datetime.now(UTC) - entry.at < timedelta(seconds=5)
    monkeypatch.setenv("SUDO_USER", "jo")
    monkeypatch.setenv("SSH_CLIENT", "10.0.0.7 5555 22")
    assert audit.entry("x", "", "lab", tmp_path, outcome="done").ssh_client == "10.0.0.7"
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.8 5555 10.0.0.1 22")
    entry = audit.entry("x", "", "lab", tmp_path, outcome="failed", error="because")
    assert (entry.sudo_user, entry.ssh_client, entry.error) == ("jo", "10.0.0.8", "because")


def test_what_is_written_is_read_and_what_is_torn_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    assert list(audit.read(path)) == []
    entries = [
        audit.entry("users.add", name, "lab", tmp_path, outcome="done")
        for name in ("a", 'b"\n{', "c")
    ]
    audit.write(path, entries[0])
    with path.open("ab") as file:
        file.write(msgspec.json.encode(entries[1])[:60])
    audit.write(path, entries[1])
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n\n[]\n{"at": 1}\n')
    audit.write(path, entries[2])
    assert list(audit.read(path)) == entries
    assert path.stat().st_mode & 0o777 == 0o600


def test_any_bytes_in_a_path_or_a_name_are_no_reason_to_fail(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe"))
    entry = audit.entry(
        "users.add", "\udcff", "lab", odd, outcome="failed", error=f"{odd} is not empty"
    )
    audit.write(tmp_path / "audit", entry)
    [read] = audit.read(tmp_path / "audit")
    assert read.directory == f"{tmp_path}/\\udcff\\udcfe"
    assert read.target == "\\udcff"


def test_a_trail_that_is_not_for_us() -> None:
    with machine.common_folder() as folder:
        (folder / "lab").mkdir(mode=0o700)
        with pytest.raises(AccessError):
            machine.as_nobody(lambda: list(audit.read(folder / "lab" / "audit.jsonl")))
