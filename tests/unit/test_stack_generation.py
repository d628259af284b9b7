"""The generation of the user files: every step turns one flag, no number comes twice."""

from __future__ import annotations

from pathlib import Path

from console.core import shipped
from console.core.stack import generation


def test_every_step_is_one_flag_and_a_number_of_its_own(tmp_path: Path) -> None:
    seen = {tuple(generation.current(tmp_path))}
    before = generation.current(tmp_path)
    for _ in range(2**generation.FLAGS - 1):
        generation.advance(tmp_path)
        now = generation.current(tmp_path)
        assert sum(a != b for a, b in zip(before, now, strict=True)) == 1
        assert tuple(now) not in seen
        seen.add(tuple(now))
        before = now
    generation.advance(tmp_path)
    assert not any(generation.current(tmp_path))


def test_the_proxy_looks_at_every_flag() -> None:
    text = (shipped.folder() / "nginx" / "generation.conf").read_text()
    for flag in range(generation.FLAGS):
        assert f"{generation.FOLDER}/{flag})" in text
        assert text.rstrip().splitlines()[-1].count(f"$flag{flag}") >= 1
    assert f"{generation.FOLDER}/{generation.FLAGS})" not in text


def test_other_accounts_may_look(tmp_path: Path) -> None:
    generation.advance(tmp_path)
    folder = tmp_path / generation.FOLDER
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o644]
