"""The place of the snapshots: choosing it, what is in it, and which snapshot is meant."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.core import files, machine, settings
from console.core.backup import belongings, choosing, disk, place
from console.core.backup.place import MARKER, Place
from console.core.backup.snapshot import PARTS, State
from console.core.deployment import Deployment
from console.core.errors import AccessError, ConsoleError, NotOursError, SettingsError, UsageError
from console.core.settings import Settings
from console.core.stack.driver import Room
from tests.support import machine as machines
from tests.support import places
from tests.support.places import BEGAN, manifest, snapshot


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return places.bare(tmp_path / "lab")


@pytest.fixture
def chosen(deployment: Deployment, tmp_path: Path) -> Path:
    deployment.backup.choose(tmp_path / "snapshots")
    return tmp_path / "snapshots"


# Choosing


def test_before_one_is_chosen(deployment: Deployment) -> None:
    assert not deployment.backup.chosen
    assert deployment.backup.list() == []
    with pytest.raises(ConsoleError, match="No place was chosen") as caught:
        _ = deployment.backup.place
    assert "backup create --to" in caught.value.hint


def test_comments_and_order_of_the_settings_stay(deployment: Deployment, tmp_path: Path) -> None:
    path = deployment.paths.settings
    text = path.read_text().replace("[backup]", "# ours\n[backup] # here\n# not there").replace(
        'place = ""', 'place = "" # none yet'
    )  # fmt: skip
    path.write_text(f"# first\n{text}\n# last\n")
    deployment.backup.choose(tmp_path / 'sna"p\\shots é')
    after = path.read_text()
    written = '"' + str(tmp_path).replace("\\", "\\\\") + '/sna\\"p\\\\shots é"'
    assert after == f"# first\n{text}\n# last\n".replace('place = ""', f"place = {written}")
    assert Path(settings.load(path, Settings).backup.place) == tmp_path / 'sna"p\\shots é'
    assert deployment.backup.place.path == tmp_path / 'sna"p\\shots é'


def test_a_table_that_is_not_there_yet_is_added(deployment: Deployment, tmp_path: Path) -> None:
    path = deployment.paths.settings
    before = path.read_text().partition("[backup]")[0]
    path.write_text(before)
    deployment.backup.choose(tmp_path / "snapshots")
    assert path.read_text().startswith(before.rstrip("\n"))
    assert deployment.settings.backup.place == str(tmp_path / "snapshots")


def test_it_is_private_and_says_whose_it_is(deployment: Deployment, chosen: Path) -> None:
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    marker = place.read_marker(chosen)
    assert marker is not None
    assert (marker.deployment, marker.directory) == ("lab", str(deployment.directory))
    assert stat.S_IMODE((chosen / MARKER).stat().st_mode) == 0o600


def test_an_empty_disk_can_be_chosen(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    deployment.backup.choose(tmp_path / "disk")
    assert deployment.backup.list() == []


@pytest.mark.parametrize(
    ("folder", "why"),
    [("lab", "is the deployment itself"), ("lab/data/snapshots", "own folder"),
     ("lab/run", "own folder"), ("lab/backups", "own folder"), ("link/data", "own folder"),
     ("other", "is a deployment"),
     ("full", "is not empty: it holds thing"), ("missing/there", "missing does not exist"),
     ("full/thing", "is no folder"), ("foreign", "holds the snapshots of else in /srv on far"),
     ("foreign/inner", "inside a place of snapshots")],
)  # fmt: skip
def test_what_cannot_be_a_place(
    deployment: Deployment, tmp_path: Path, folder: str, why: str
) -> None:
    for name in ("lab/data", "full", "foreign"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "thing").touch()
    (tmp_path / "link").symlink_to("lab")
    places.bare(tmp_path / "other")
    marker = place.Marker("else", "/srv", "far", "m", BEGAN)
    (tmp_path / "foreign" / MARKER).write_bytes(msgspec.json.encode(marker))
    before = deployment.paths.settings.read_bytes()
    with pytest.raises(ConsoleError, match=why):
        deployment.backup.choose(tmp_path / folder)
    assert deployment.paths.settings.read_bytes() == before
    assert not deployment.backup.chosen


def test_a_folder_that_is_not_for_this_account(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = deployment.paths.settings.read_bytes()  # and imports what that account may not read
    with machines.common_folder() as folder:
        folder.chmod(0o777)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
        (folder / "closed").mkdir(mode=0o700)
        (folder / "open").mkdir(mode=0o755)

        def choose(name: str) -> None:
            theirs = places.bare(folder / f"lab-{name}")
            with choosing.tried(theirs, folder / name / "sub"):
                pass

        with pytest.raises(AccessError, match=r"This account may not use .*/closed/sub"):
            machines.as_nobody(lambda: choose("closed"))
        (folder / "open" / "sub").mkdir(mode=0o755)
        with pytest.raises(AccessError, match=r"This account may not write in .*/open/sub$"):
            machines.as_nobody(lambda: choose("open"))
    assert deployment.paths.settings.read_bytes() == text


class _StopError(Exception):
    """What a test fails with."""


def test_what_was_tried_in_vain_leaves_nothing(
    deployment: Deployment, chosen: Path, tmp_path: Path
) -> None:
    before, marker = deployment.paths.settings.read_bytes(), (chosen / MARKER).read_bytes()
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new", chosen):
        with contextlib.suppress(_StopError), choosing.tried(deployment, folder):
            assert deployment.backup.place.path == folder
            raise _StopError
        assert deployment.backup.place.path == chosen
        assert deployment.paths.settings.read_bytes() == before
    assert not list((tmp_path / "empty").iterdir())
    assert not (tmp_path / "new").exists()
    assert (chosen / MARKER).read_bytes() == marker
    with choosing.tried(deployment, tmp_path / "new"):
        pass
    assert deployment.backup.place.path == tmp_path / "new"


def test_no_place_goes_into_a_snapshot(deployment: Deployment, chosen: Path) -> None:
    old = deployment.directory / "backups" / "old"
    old.mkdir(parents=True)
    (old / MARKER).write_bytes((chosen / MARKER).read_bytes())
    snapshot(old, manifest(1))
    (old.parent / "notes").touch()
    assert set(belongings.names(deployment, PARTS)) == {"console.toml", "backups/notes"}


@pytest.mark.parametrize("folder", ["snapshots", "./snapshots"])
def test_only_a_whole_path(deployment: Deployment, folder: str) -> None:
    with pytest.raises(UsageError, match="not the whole path"):
        deployment.backup.choose(Path(folder))


def test_a_name_that_is_no_text(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="that no settings can hold"):
        deployment.backup.choose(tmp_path / os.fsdecode(b"\xff"))


def test_settings_that_make_no_sense_are_left_alone(deployment: Deployment, tmp_path: Path) -> None:
    path = deployment.paths.settings
    path.write_text(path.read_text() + "\nstrange = 1\n")
    before = path.read_bytes()
    with pytest.raises(SettingsError):
        deployment.backup.choose(tmp_path / "snapshots")
    assert path.read_bytes() == before
    assert not (tmp_path / "snapshots").exists()


def test_where_nothing_can_be_written(deployment: Deployment) -> None:
    with pytest.raises(ConsoleError):
        deployment.backup.choose(Path("/proc/snapshots"))
    assert not deployment.backup.chosen


def test_a_disk_that_keeps_no_modes(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT and exFAT refuse chmod(2) even to the owner."""
    everywhere = os.chmod

    def chmod(target: Path | int, mode: int, **options: Any) -> None:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
        if path.startswith(str(tmp_path / "stick")):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        everywhere(target, mode, **options)

    (tmp_path / "stick").mkdir(mode=0o755)
    monkeypatch.setattr(os, "chmod", chmod)
    deployment.backup.choose(tmp_path / "stick")
    here = deployment.backup.place
    assert not here.keeps_modes
    assert any("does not keep who may read" in each for each in here.notes(deployment))
    made = snapshot(here.path, manifest(1), State(verified_at=BEGAN))
    assert deployment.backup.list() == [made]
    with here.lock.holding("prune of lab"):
        pass


def test_a_folder_that_others_may_read(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    monkeypatch.setattr(files, "set_mode", lambda *_, **__: None)  # it belongs to somebody else
    with pytest.raises(AccessError, match="others may read what is in it"):
        deployment.backup.choose(tmp_path / "shared")
    assert not deployment.backup.chosen


# Whose it is


def test_another_one_of_the_same_name_is_kept_out(
    deployment: Deployment, chosen: Path, tmp_path: Path
) -> None:
    (tmp_path / "copy").mkdir()
    other = places.bare(tmp_path / "copy" / "lab")
    with pytest.raises(NotOursError, match="holds the snapshots of lab in"):
        other.backup.choose(chosen)
    # A copy of the whole deployment has its settings, too.
    copied = deployment.paths.settings.read_bytes()
    other.paths.settings.write_bytes(copied)
    other = Deployment.open(str(other.directory))
    assert other.backup.list() == []
    with pytest.raises(NotOursError, match="is used by lab in"):
        other.backup.place.require()
    deployment.backup.place.require()


def test_one_that_was_moved_keeps_its_place(
    deployment: Deployment, chosen: Path, tmp_path: Path
) -> None:
    deployment.directory.rename(tmp_path / "moved")
    moved = Deployment.open(str(tmp_path / "moved"))
    moved.backup.place.require()
    moved.backup.choose(chosen)
    marker = place.read_marker(chosen)
    assert marker is not None
    assert marker.directory == str(tmp_path / "moved")


def test_on_another_machine_it_has_to_be_chosen_again(
    deployment: Deployment, chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "machine_id", lambda: "another")
    marker = place.read_marker(chosen)
    assert marker is not None
    (chosen / MARKER).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(marker, machine="one"))
    )
    with pytest.raises(NotOursError, match="is used by lab in"):
        deployment.backup.place.require()
    deployment.backup.choose(chosen)
    deployment.backup.place.require()


def test_a_disk_that_is_not_mounted(deployment: Deployment, chosen: Path) -> None:
    (chosen / MARKER).unlink()
    with pytest.raises(ConsoleError, match=r"its place\.json is missing") as caught:
        deployment.backup.list()
    assert "Mount its disk" in caught.value.hint
    for leftover in chosen.iterdir():
        leftover.unlink()
    chosen.rmdir()
    with pytest.raises(ConsoleError, match="is not there"):
        deployment.backup.place.require()
    with pytest.raises(ConsoleError, match="is not there"):
        deployment.backup.holder()
    assert not chosen.exists()


@pytest.mark.parametrize(("said", "why"), [(b"{", "not as it was written"), (b"", "not as it was"),
                                           (b'{"format": 2}', "written")])  # fmt: skip
def test_a_marker_that_makes_no_sense(
    deployment: Deployment, chosen: Path, said: bytes, why: str
) -> None:
    (chosen / MARKER).write_bytes(said)
    with pytest.raises(ConsoleError, match=why):
        deployment.backup.list()


# What is in it


def test_they_come_in_the_order_that_they_were_made(deployment: Deployment, chosen: Path) -> None:
    for sequence, hours in ((1, 5), (2, 6), (3, 1), (4, 2)):  # the clock was set back
        snapshot(chosen, manifest(sequence, BEGAN + timedelta(hours=hours)))
    found = deployment.backup.list()
    assert [each.manifest.sequence for each in found if each.manifest] == [4, 3, 2, 1]
    assert deployment.backup.show("latest") == found[0]


def test_what_is_no_snapshot_is_not_listed(deployment: Deployment, chosen: Path) -> None:
    whole = snapshot(chosen, manifest(1))
    for name in (".making", ".pruning-20260301-080000", ".probe-x", "lost+found", "notes"):
        (chosen / name).mkdir()
    (chosen / ".making" / "manifest.json").write_bytes(b"{}")
    (chosen / "20260301-080000").symlink_to(whole.path)
    (chosen / "20260301-090001").touch()
    assert deployment.backup.list() == [whole]


@pytest.mark.parametrize(
    ("said", "why"),
    [(None, "has no manifest.json: it is no snapshot"), (b"", "not as it was written"),
     (b"{}", "not as it was written"), (b'{"format": 2}', "has format 2, this version knows"),
     (b"\xff" * 90, "not as it was written")],
)  # fmt: skip
def test_a_broken_one_is_listed_with_why(
    deployment: Deployment, chosen: Path, said: bytes | None, why: str
) -> None:
    older, newer = snapshot(chosen, manifest(1)), snapshot(chosen, manifest(3))
    broken = chosen / manifest(2).id
    broken.mkdir()
    if said is not None:
        (broken / "manifest.json").write_bytes(said)
    found = deployment.backup.list()
    assert [each.path for each in found] == [newer.path, broken, older.path]
    assert why in found[1].problem
    with pytest.raises(ConsoleError, match="cannot be used"):
        deployment.backup.show(broken.name)


def test_a_manifest_in_which_a_digit_was_changed(deployment: Deployment, chosen: Path) -> None:
    made = snapshot(chosen, manifest(1, runs=10))
    path = made.path / "manifest.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (made.path / "SHA256SUMS").write_text(
        f"{'0' * 64}  catalog.jsonl.gz\n{digest}  manifest.json\n"
    )
    assert deployment.backup.list()[0].problem == ""
    path.write_bytes(path.read_bytes().replace(b'"runs": 10', b'"runs": 90'))
    assert "its checksum in SHA256SUMS is another" in deployment.backup.list()[0].problem


def test_a_time_without_a_zone_is_refused(deployment: Deployment, chosen: Path) -> None:
    made = snapshot(chosen, manifest(1))
    path = made.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"00Z", b"00"))
    assert "a time lacks its zone" in deployment.backup.list()[0].problem


def test_a_state_that_cannot_be_read_says_nothing(deployment: Deployment, chosen: Path) -> None:
    made = snapshot(chosen, manifest(1), State(verified_at=BEGAN))
    assert deployment.backup.list()[0].state.verified_at == BEGAN
    (made.path / "state.json").write_bytes(b"{")
    assert deployment.backup.list()[0].state == State()
    assert stat.S_IMODE((made.path / "manifest.json").stat().st_mode) == 0o600


# Which one is meant


def test_what_one_can_be_called(deployment: Deployment, chosen: Path) -> None:
    first = snapshot(chosen, manifest(1, BEGAN, label="v1"))
    second = snapshot(chosen, manifest(2, BEGAN + timedelta(days=1)))
    third = snapshot(chosen, manifest(3, BEGAN + timedelta(days=2), parts=["users"]))
    fourth = snapshot(chosen, manifest(4, BEGAN + timedelta(days=3), reason="safety"))
    show = deployment.backup.show
    assert show("v1") == show(first.id) == show("20260301") == first
    assert show("latest") == second  # the newest one of everything that somebody asked for
    assert show("20260303") == third
    assert show(str(fourth.path)) == fourth
    with pytest.raises(UsageError, match="can be 4 snapshots"):
        show("2026030")
    for wanted in ("", "v", "x", "2027", ".making"):
        with pytest.raises(ConsoleError, match="There is no snapshot"):
            show(wanted)


def test_a_folder_needs_no_place(tmp_path: Path, deployment: Deployment) -> None:
    (tmp_path / "usb").mkdir()
    made = snapshot(tmp_path / "usb", manifest(1))
    assert deployment.backup.show(str(made.path)) == made
    assert deployment.backup.show(f"{made.path}/") == made
    unfinished = made.path.rename(tmp_path / "usb" / ".making")
    with pytest.raises(ConsoleError, match="is no whole snapshot"):
        deployment.backup.show(str(unfinished))


def test_the_newest_of_a_part(deployment: Deployment, chosen: Path) -> None:
    assert deployment.backup.place.newest() is None
    first = snapshot(chosen, manifest(1))
    second = snapshot(chosen, manifest(2, parts=["database"]))
    assert deployment.backup.place.newest() == second
    assert deployment.backup.place.newest("artifacts") == first


@pytest.mark.parametrize("label", ["v1", "before upgrade to 3.18", "été", "a=b", "x" * 100])
def test_labels(deployment: Deployment, chosen: Path, label: str) -> None:
    deployment.backup.place.refuse_label(label)
    snapshot(chosen, manifest(1, label=label))
    with pytest.raises(UsageError, match=f'has the label "{label}" already'):
        deployment.backup.place.refuse_label(label)


@pytest.mark.parametrize(
    "label",
    [
        "latest",
        "all",
        "",
        "a/b",
        "-x",
        ".x",
        "a\nb",
        "x" * 101,
        "20260301-080000",
        " a",
        "2026",
        "20260301",
        "20260301-",
        "20260301-08",
        "1",
    ],
)
def test_what_cannot_be_a_label(deployment: Deployment, chosen: Path, label: str) -> None:
    with pytest.raises(UsageError, match="cannot be a label"):
        deployment.backup.place.refuse_label(label)


# The disk


def test_what_the_disk_keeps_is_tried(
    deployment: Deployment, chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = deployment.backup.place
    assert (here.keeps_modes, here.keeps_links) == (True, True)
    assert here.free_bytes > 0

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert disk.try_out(chosen).keeps_links is False
    monkeypatch.setattr(os, "fchmod", refused)
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)  # as on FAT
    assert disk.try_out(chosen).keeps_modes is False
    assert [path.name for path in chosen.iterdir()] == [MARKER]


def test_what_a_kill_left_of_trying_goes_later(chosen: Path) -> None:
    old, new = chosen / ".probe-old", chosen / ".probe-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    disk.try_out(chosen)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_disk_of_the_data(deployment: Deployment, chosen: Path) -> None:
    (deployment.directory / "data" / "artifacts").mkdir(parents=True)
    (deployment.directory / "data" / "mlflow.db").touch()
    here = deployment.backup.place
    assert here.same_disk(deployment) == ["the database", "the artifact store"]
    assert "It is the same disk as the database and the artifact store" in here.notes(deployment)[0]


def test_a_volume_is_known_by_its_figures(chosen: Path) -> None:
    sizes = os.statvfs(chosen)
    total, free = sizes.f_frsize * sizes.f_blocks, sizes.f_frsize * sizes.f_bavail
    assert disk.is_under(Room("store", "lab_store", total, free), chosen)
    assert not disk.is_under(Room("store", "lab_store", total + 4096, free), chosen)
    assert not disk.is_under(Room("store", "lab_store", total, free // 2), chosen)
    assert disk.is_under(Room("store", str(chosen), 1, 1), chosen)
    assert not disk.is_under(Room("store", "/proc", total, free), chosen)


def test_only_reading_needs_no_deployment(chosen: Path) -> None:
    assert Place(chosen).snapshots() == []
    with pytest.raises(NotOursError):
        Place(chosen).require()
