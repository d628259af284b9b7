"""The htpasswd file: nothing that is not changed changes, and it is read as nginx reads it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.users.htpasswd import DISABLED, Htpasswd, Scheme, display, scheme_of

BCRYPT = b"$2y$12$" + b"a" * 53

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: b":" not in name and b"\n" not in name and not name.startswith((b"#", b"\r"))
)
FIELDS = st.sampled_from([BCRYPT, b"$apr1$abc$" + b"x" * 22, b"{SHA}abc=", b"a" * 13, b"junk", b""])
LINES = st.one_of(
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b" ")),
    st.tuples(NAMES, FIELDS, st.sampled_from([b"", b":note", b":a:b"])).map(
        lambda parts: parts[0] + b":" + parts[1] + parts[2]
    ),
    st.tuples(NAMES, FIELDS).map(lambda parts: b"# disabled: " + parts[0] + b":" + parts[1]),
    st.sampled_from([b"", b"# a comment", b"no colon", b":no name"]),
)
FILES = st.tuples(
    st.lists(LINES, max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.booleans()
).map(lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else b""))


@pytest.fixture(scope="module")
def server() -> ModuleType:
    """The reader that the server itself uses; the two must agree on who is in the file."""
    path = Path(__file__).parents[2] / "stack/server/mlflow_console_server/credentials.py"
    spec = importlib.util.spec_from_file_location("server_credentials", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@given(st.one_of(FILES, st.binary()))
def test_any_bytes_come_out_as_they_went_in(content: bytes) -> None:
    assert bytes(Htpasswd.parse(content)) == content


@given(content=FILES)
def test_who_is_enabled_is_what_the_server_reads(server: ModuleType, content: bytes) -> None:
    ours = {line.name: line.field for line in Htpasswd.parse(content).users() if line.enabled}
    assert ours == server.parse(content).hashes


@given(FILES, NAMES)
def test_an_added_user_is_in_force_and_the_rest_is_untouched(content: bytes, name: bytes) -> None:
    before = Htpasswd.parse(content)
    if any(line.name == name for line in before.users()):
        return
    written = bytes(before.add(name, BCRYPT))
    after = Htpasswd.parse(written)
    assert written.startswith(content)
    assert after.lines[-1].name == name
    assert after.lines[-1].field == BCRYPT
    assert [line.name for line in after.users()] == [x.name for x in before.users()] + [name]


@given(FILES, st.data())
def test_a_changed_hash_leaves_every_other_byte(content: bytes, data: st.DataObject) -> None:
    before = Htpasswd.parse(content)
    users = list(before.users())
    if not users:
        return
    line = data.draw(st.sampled_from(users))
    number = next(n for n, each in enumerate(before.lines) if each is line)
    after = Htpasswd.parse(bytes(before.change(line, BCRYPT)))
    changed = after.lines[number]
    assert (changed.name, changed.field, changed.enabled) == (line.name, BCRYPT, line.enabled)
    assert (
        changed.raw.replace(BCRYPT, b"", 1)
        == changed.raw[: changed.raw.index(BCRYPT)]
        + (changed.raw[changed.raw.index(BCRYPT) + len(BCRYPT) :])
    )
    assert len(changed.raw) - len(BCRYPT) == len(line.raw) - len(line.field)
    untouched = [raw.raw for n, raw in enumerate(after.lines) if n != number]
    assert untouched == [raw.raw for n, raw in enumerate(before.lines) if n != number]


@given(FILES, st.data())
def test_a_removed_name_does_not_come_alive_again(content: bytes, data: st.DataObject) -> None:
    before = Htpasswd.parse(content)
    users = list(before.users())
    if not users:
        return
    name = data.draw(st.sampled_from(users)).name
    after = Htpasswd.parse(bytes(before.remove({name})))
    assert name not in {line.name for line in after.lines}
    others = [line.raw for line in before.lines if line.name != name]
    assert [line.raw for line in after.lines] == others


def test_a_comment_and_the_line_end_survive_a_new_password() -> None:
    file = Htpasswd.parse(b"ada:{SHA}old:the boss:x\r\nbob:{SHA}b\r\n")
    ada = file.find("ada")
    assert ada is not None
    assert bytes(file.change(ada, BCRYPT)) == b"ada:" + BCRYPT + b":the boss:x\r\nbob:{SHA}b\r\n"


def test_a_new_line_goes_behind_a_missing_line_end_and_ends_as_the_others() -> None:
    assert bytes(Htpasswd.parse(b"a:x\r\nb:y").add(b"c", b"z")) == b"a:x\r\nb:y\r\nc:z\r\n"
    assert bytes(Htpasswd.parse(b"a:x").add(b"c", b"z")) == b"a:x\nc:z\n"
    assert bytes(Htpasswd.parse(b"").add(b"c", b"z")) == b"c:z\n"


def test_disabled_users_are_known_and_remarks_are_not_taken_for_them() -> None:
    content = b"# disabled: ada:" + BCRYPT + b"\n# disabled: bob: left in May\n#eve:" + BCRYPT
    users = [(line.name, line.enabled) for line in Htpasswd.parse(content).users()]
    assert users == [(b"ada", False)]


def test_an_enabled_line_counts_more_than_a_disabled_one_before_it() -> None:
    content = b"# disabled: ada:" + BCRYPT + b"\nada:{SHA}x=\n"
    users = list(Htpasswd.parse(content).users())
    assert [(line.name, line.enabled) for line in users] == [(b"ada", True)]


def test_a_name_that_is_no_utf8_is_found_by_what_is_shown_of_it() -> None:
    file = Htpasswd.parse(b"\xff\xfe:{SHA}x=\n")
    line = next(iter(file.users()))
    assert display(line.name) == r"\xff\xfe"
    assert file.find(r"\xff\xfe") is line


def test_a_name_that_looks_like_an_undecodable_one_is_another() -> None:
    file = Htpasswd.parse(b"\xff:{SHA}x=\n\\xff:{SHA}y=\n")
    found = file.find(r"\xff")
    assert found is not None
    assert found.field == b"{SHA}y="


def test_oddities_tell_the_line_and_no_secret() -> None:
    content = b"ada:{SHA}x=\nhunter2\nada:{SHA}hash=\nbob:rubbish\n# fine\n\n"
    said = Htpasswd.parse(content).oddities()
    assert [sentence.split(":")[0].split(" ")[1] for sentence in said] == ["2", "3", "4"]
    assert not any(word in " ".join(said) for word in ("hunter2", "hash=", "rubbish"))
    assert "line 1 is in force" in said[1]


@pytest.mark.parametrize(
    ("field", "scheme", "weak"),
    [
        (b"$2y$12$" + b"a" * 53, Scheme("bcrypt", 12), False),
        (b"$2b$10$" + b"a" * 53, Scheme("bcrypt", 10), False),
        (b"$2a$05$" + b"a" * 53, Scheme("bcrypt", 5), True),
        (b"$2x$12$" + b"a" * 53, Scheme("bcrypt", 12), False),
        (b"$2y$12$short", Scheme("unknown"), True),
        (b"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", Scheme("apr1"), True),
        (b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Scheme("sha"), True),
        (b"{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Scheme("ssha"), True),
        (b"{PLAIN}secret", Scheme("plain"), True),
        (b"$1$abc$" + b"x" * 22, Scheme("md5-crypt"), True),
        (b"$5$rounds=5000$salt$" + b"x" * 43, Scheme("sha256-crypt"), False),
        (b"$6$salt$" + b"x" * 86, Scheme("sha512-crypt"), False),
        (b"$y$j9T$salt$" + b"x" * 43, Scheme("yescrypt"), False),
        (b"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", Scheme("argon2"), False),
        (b"rqXexS6ZhobKA", Scheme("des-crypt"), True),
        (b"", Scheme("unknown"), True),
        (b"plaintext", Scheme("unknown"), True),
    ],
)
def test_schemes(field: bytes, scheme: Scheme, weak: bool) -> None:
    assert scheme_of(field) == scheme
    assert scheme_of(field).weak is weak


def test_disabled_and_enabled_again_the_same_line_is_in_force() -> None:
    before = b"# disabled: ada:{SHA}older=\nbob:{SHA}b=\nada:{SHA}force=:boss\nada:{SHA}dead=\n"
    off = Htpasswd.parse(before).disable({b"ada"})
    assert [line.enabled for line in off.users()] == [False, True]
    again = Htpasswd.parse(bytes(off.enable({b"ada"})))
    found = again.find("ada")
    assert found is not None
    assert (found.field, found.enabled) == (b"{SHA}force=", True)
    assert sorted(bytes(again).replace(b"# disabled: ", b"").splitlines()) == sorted(
        before.replace(b"# disabled: ", b"").splitlines()
    )


@given(FILES, st.data())
def test_who_is_disabled_is_out_whatever_the_file_holds(
    content: bytes, data: st.DataObject
) -> None:
    file = Htpasswd.parse(content)
    names = [line.name for line in file.users()]
    if not names:
        return
    chosen = data.draw(st.sets(st.sampled_from(names)))
    off = Htpasswd.parse(bytes(file.disable(chosen)))
    assert {line.name for line in off.users() if line.enabled} == {
        line.name for line in file.users() if line.enabled
    } - chosen


def _ends(content: bytes) -> list[bytes]:
    return [line.raw[len(line.raw.rstrip(b"\r\n")) :] for line in Htpasswd.parse(content).lines]


@given(FILES, NAMES, st.data())
def test_a_new_name_leaves_order_ends_and_every_other_byte(
    content: bytes, new: bytes, data: st.DataObject
) -> None:
    before = Htpasswd.parse(content)
    names = [line.name for line in before.users()]
    if not names or new in names:
        return
    old = data.draw(st.sampled_from(names))
    after = Htpasswd.parse(bytes(before.rename(old, new)))
    assert [line.name for line in after.users()] == [new if x == old else x for x in names]
    for was, now in zip(before.lines, after.lines, strict=True):
        mark = b"" if was.enabled else DISABLED
        renamed = mark + new + was.raw[len(mark) + len(old) :]
        assert now.raw == (renamed if was.name == old else was.raw)
    assert _ends(bytes(after)) == _ends(content)
    assert bytes(after.rename(new, old)) == content


def test_a_last_line_without_an_end_runs_into_no_other_when_it_moves_up() -> None:
    old, new = (b":$2y$12$" + letter * 53 for letter in (b"a", b"b"))
    file = Htpasswd.parse(b"# disabled: ada" + old + b"\nada" + new + b":x")
    off = b"# disabled: ada" + new + b":x\n# disabled: ada" + old + b"\n"
    assert bytes(file.disable({b"ada"})) == off


@given(FILES, st.data())
def test_switching_off_and_on_moves_nobody_else(content: bytes, data: st.DataObject) -> None:
    before = Htpasswd.parse(content)
    # One of no known scheme could not be told from a remark; the service refuses that.
    remarks = {x.name for x in before.lines if scheme_of(x.field).name == "unknown"}
    known = [x.name for x in before.users() if x.name not in remarks]
    if not known:
        return
    chosen = data.draw(st.sets(st.sampled_from(known), min_size=1))
    others = [line.raw for line in before.lines if line.name not in chosen]
    off = Htpasswd.parse(bytes(before.disable(chosen)))
    on = Htpasswd.parse(bytes(off.enable(chosen)))
    for after in (off, on):
        assert [line.raw for line in after.lines if line.name not in chosen] == others
        assert len(after.lines) == len(before.lines)
    force = {line.name: line.field for line in before.users() if line.name in chosen}
    assert {x.name: x.field for x in on.users() if x.name in chosen and x.enabled} == force
    if max(sum(x.name == name for x in before.lines) for name in chosen) == 1:
        assert bytes(off.enable(chosen & {x.name for x in before.users() if x.enabled})) == content


@given(FILES)
def test_the_line_that_counts_is_the_first_that_nginx_would_take(content: bytes) -> None:
    file = Htpasswd.parse(content)
    for line in file.users():
        same = [x for x in file.lines if x.name == line.name]
        enabled = [x for x in same if x.enabled]
        assert line is (enabled or same)[0]
    # Each of the others is named with the line that wins.
    said = [x for x in file.oddities() if " again; line " in x]
    users = sum(line.is_user for line in file.lines)
    assert len(said) == users - len(list(file.users()))


@pytest.mark.skipif(shutil.which("htpasswd") is None, reason="apache2-utils is not installed")
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"#"])
@pytest.mark.parametrize("size", [254, 255, 256, 300, 600])
@pytest.mark.parametrize("tail", [b"", b":x", b"\t# y"])
def test_lines_that_apache_refuses_are_told(
    tmp_path: Path, end: bytes, mark: bytes, size: int, tail: bytes
) -> None:
    start = mark + b"ada:{SHA}"
    content = start + b"=" * (size - len(start) - len(tail)) + tail + end + b"bob:{SHA}x=\n"
    path = tmp_path / "users"
    path.write_bytes(content)
    asked = subprocess.run(
        ["htpasswd", "-vb", str(path), "nobody", "x"], capture_output=True, check=False
    )
    refused = b"not appear to be a valid htpasswd file" in asked.stderr
    told = [x for x in Htpasswd.parse(content).oddities() if "Apache" in x]
    assert told == ["Line 1 is longer than 254 bytes: Apache's htpasswd refuses the whole file"] * (
        refused
    )
