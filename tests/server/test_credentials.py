"""The htpasswd file and the memory of what was verified, with real hashes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_console_server import credentials
from mlflow_console_server.credentials import (
    BusyError,
    Credentials,
    UserFile,
    UserFileError,
    Verifier,
    matches,
    parse,
)
from passlib.hash import (
    apr_md5_crypt,
    bcrypt,
    des_crypt,
    ldap_salted_sha1,
    ldap_sha1,
    md5_crypt,
    sha256_crypt,
    sha512_crypt,
)

Write = Callable[..., None]
ALICE = Credentials(b"alice", b"geheim")


def hashed(password: str, rounds: int = 4) -> str:
    return str(bcrypt.using(rounds=rounds, ident="2y").hash(password))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "htpasswd"


@pytest.fixture
def write(path: Path) -> Write:
    """Replace the user file atomically, as an editor of it does."""

    def replace(**users: str) -> None:
        new = path.with_suffix(".new")
        new.write_text("".join(f"{name}:{field}\n" for name, field in users.items()))
        new.replace(path)

    return replace


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hash fields that were really computed, in order."""
    seen: list[bytes] = []

    def counting(field: bytes, password: bytes) -> bool:
        seen.append(field)
        return matches(field, password)

    monkeypatch.setattr(credentials, "matches", counting)
    return seen


@pytest.mark.parametrize(
    "field",
    [
        hashed("grün"),
        hashed("grün").replace("$2y$", "$2a$"),
        hashed("grün").replace("$2y$", "$2b$"),
        apr_md5_crypt.hash("grün"),
        ldap_sha1.hash("grün"),
        ldap_salted_sha1.hash("grün"),
        md5_crypt.hash("grün"),
        des_crypt.hash("grün"),
        sha256_crypt.using(rounds=1000).hash("grün"),
        sha512_crypt.using(rounds=1000).hash("grün"),
        "{PLAIN}grün",
    ],
    # Hashes are salted, and pytest-xdist wants the same names in every process.
    ids=["2y", "2a", "2b", "apr1", "SHA", "SSHA", "md5", "des", "sha256", "sha512", "PLAIN"],
)
def test_every_scheme_takes_the_right_password_and_no_other(field: str) -> None:
    assert matches(field.encode(), "grün".encode())
    assert not matches(field.encode(), b"gruen")
    assert not matches(field.encode(), b"")


def test_a_hash_that_apache_wrote() -> None:
    # `htpasswd -nbm u myPassword`, the example of Apache's manual ("Password Formats").
    assert matches(b"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", b"myPassword")
    assert matches(b"{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", b"myPassword")


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"geheim",
        b"{PLAIN}",
        b"{SHA}",
        b"{SHA}geheim",
        b"{SSHA}AAAA",
        b"{UNKNOWN}geheim",
        b"$2y$",
        b"$2y$10$",
        b"$2y$99$" + b"." * 53,
        b"$2y$xx$" + b"a" * 53,
        b"$2x$04$" + b"." * 53,
        b"$2y$04$" + b"\xff" * 53,
        b"$apr1$",
        b"$apr1$$",
        b"$5$rounds=x$a$b",
        b"$6$",
        b"$y$j9T$a$b",
        b"$",
        b"$$$$",
        b"\x00",
        b"\xff\xfe",
        "$2y$0\uff14$".encode(),
    ],
)
def test_a_broken_hash_opens_nothing_and_never_raises(field: bytes) -> None:
    for password in (b"geheim", b"", b"\x00", field, b"x" * 10_000):
        assert not matches(field, password)


def test_bcrypt_reads_72_bytes_of_a_longer_password() -> None:
    field = hashed("a" * 72).encode()
    assert matches(field, b"a" * 100)
    assert matches(field, b"a" * 10_000)
    assert not matches(field, b"a" * 71)


def test_a_password_with_a_nul_byte_is_only_wrong() -> None:
    assert not matches(hashed("ab").encode(), b"ab\x00c")


def test_the_file_is_read_as_nginx_reads_it() -> None:
    content = (
        b"#alice:off\nalice:one:a comment\nalice:two\njunk\n:nobody\n\n"
        b" bob:x\nbob:y\r\nz\xc3\xbc:q\n\r:cr\nlast:no newline"
    )
    assert parse(content).hashes == {
        b"alice": b"one",
        b" bob": b"x",
        b"bob": b"y",
        "zü".encode(): b"q",
        b"last": b"no newline",
    }


def test_an_unknown_name_is_hashed_like_most_users() -> None:
    cheap, dear = hashed("x", 4), hashed("x", 5)
    assert parse(f"a:{cheap}\nb:{dear}\nc:{hashed('y', 5)}\n".encode()).decoy == dear.encode()
    assert parse(b"a:junk\n").decoy.startswith(b"$2b$10$")


async def test_a_password_is_hashed_once(path: Path, write: Write, hashings: list[bytes]) -> None:
    write(alice=hashed("geheim"))
    verifier = Verifier(UserFile(path))
    for _ in range(5):
        assert await verifier.verify(ALICE)
    assert len(hashings) == 1


async def test_equal_requests_at_once_share_one_hashing(
    path: Path, write: Write, hashings: list[bytes]
) -> None:
    write(alice=hashed("geheim", 8))
    verifier = Verifier(UserFile(path))
    assert all(await asyncio.gather(*(verifier.verify(ALICE) for _ in range(50))))
    assert len(hashings) == 1


async def test_another_user_costs_nobody_a_second_hashing(
    path: Path, write: Write, hashings: list[bytes]
) -> None:
    field = hashed("geheim")
    write(alice=field)
    verifier = Verifier(UserFile(path))
    assert await verifier.verify(ALICE)
    write(alice=field, bob=hashed("x"))
    assert await verifier.verify(ALICE)
    assert len(hashings) == 1
    assert await verifier.verify(Credentials(b"bob", b"x"))


async def test_a_wrong_password_is_never_remembered(
    path: Path, write: Write, hashings: list[bytes]
) -> None:
    write(alice=hashed("geheim"))
    verifier = Verifier(UserFile(path))
    for count in range(1, 4):
        assert not await verifier.verify(Credentials(b"alice", b"falsch"))
        assert len(hashings) == count


async def test_an_unknown_name_costs_a_hashing_too(
    path: Path, write: Write, hashings: list[bytes]
) -> None:
    field = hashed("geheim")
    write(alice=field)
    verifier = Verifier(UserFile(path))
    assert not await verifier.verify(Credentials(b"nobody", b"geheim"))
    assert hashings == [field.encode()]


async def test_the_decoys_password_opens_nothing(path: Path, write: Write) -> None:
    write(alice=hashed("geheim"), empty="")
    verifier = Verifier(UserFile(path))
    for name in (b"nobody", b"empty"):
        for _ in range(2):
            assert not await verifier.verify(Credentials(name, b"geheim"))


async def test_a_changed_password_ends_with_the_next_request(path: Path, write: Write) -> None:
    verifier = Verifier(UserFile(path))
    for round_ in range(20):  # far more often than a file system's clock ticks
        write(alice=hashed(f"new-{round_}"))
        assert await verifier.verify(Credentials(b"alice", f"new-{round_}".encode()))
        assert not await verifier.verify(Credentials(b"alice", f"new-{round_ - 1}".encode()))
    write(bob=hashed("x"))
    assert not await verifier.verify(Credentials(b"alice", b"new-19"))


def overwrite(path: Path, password: str) -> None:
    """Write alice's line in place: same inode, same size, same modification time."""
    before = path.stat()
    with path.open("r+") as file:
        file.write(f"alice:{hashed(password)}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    for field in ("st_ino", "st_size", "st_mtime_ns"):
        assert getattr(after, field) == getattr(before, field)


async def test_a_rewrite_within_one_tick_of_the_clock_is_seen(
    path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(status: os.stat_result) -> tuple[int, ...]:
        # As from a file system whose clock ticks every hour; here it may tick every nanosecond.
        hour = 3600 * 10**9
        return (status.st_ino, status.st_size, status.st_mtime_ns // hour)

    monkeypatch.setattr(credentials, "_signature", coarse)
    verifier = Verifier(UserFile(path))
    write(alice=hashed("geheim"))
    for _ in range(20):
        assert await verifier.verify(ALICE)
        overwrite(path, "anders")
        assert not await verifier.verify(ALICE)
        overwrite(path, "geheim")


async def test_a_settled_file_is_not_read_again(
    path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SETTLED_AFTER_NS", 50_000_000)
    write(alice=hashed("geheim"))
    users = UserFile(path)
    users.current()
    await asyncio.sleep(0.1)
    first = users.current()
    reads: list[object] = []
    monkeypatch.setattr(credentials, "parse", reads.append)
    monkeypatch.setattr(os, "open", reads.append)
    assert users.current() is first
    assert not reads
    monkeypatch.undo()
    write(alice=hashed("anders"))
    assert users.current() is not first


async def begun(hashings: list[bytes]) -> None:
    """Wait until a thread hashes: it appends to a list, so there is no event to wait for."""
    for _ in range(1000):
        if hashings:
            return
        await asyncio.sleep(0.001)
    pytest.fail("nothing is hashed")


@pytest.mark.parametrize("end", ["changed", "removed"])
async def test_a_verification_in_flight_does_not_let_the_old_password_in(
    path: Path, write: Write, end: str, hashings: list[bytes]
) -> None:
    write(alice=hashed("geheim", 12))
    verifier = Verifier(UserFile(path))
    flight = asyncio.create_task(verifier.verify(ALICE))
    await begun(hashings)
    write(**({"alice": hashed("neu")} if end == "changed" else {"bob": hashed("x")}))
    assert not flight.done(), "the hash was too cheap for this test"
    assert not await flight
    assert not await verifier.verify(ALICE)


async def test_a_verification_in_flight_lets_the_new_password_in(
    path: Path, write: Write, hashings: list[bytes]
) -> None:
    write(alice=hashed("geheim", 12))
    verifier = Verifier(UserFile(path))
    flight = asyncio.create_task(verifier.verify(Credentials(b"alice", b"neu")))
    await begun(hashings)
    write(alice=hashed("neu"))
    assert await flight


async def test_a_flood_delays_nobody_who_is_verified(path: Path, write: Write) -> None:
    write(alice=hashed("geheim", 7))
    verifier = Verifier(UserFile(path))
    assert await verifier.verify(ALICE)
    flood = [
        asyncio.create_task(verifier.verify(Credentials(b"alice", str(n).encode())))
        for n in range(credentials.WAITING + 20)
    ]
    await asyncio.sleep(0)
    assert await verifier.verify(ALICE)
    assert sum(task.done() for task in flood) <= 20 + 2, "it waited for the flood"
    results = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(result, BusyError) for result in results) == 20
    assert True not in results


async def test_a_client_that_hangs_up_does_not_cancel_another(path: Path, write: Write) -> None:
    write(alice=hashed("geheim", 10))
    verifier = Verifier(UserFile(path))
    first, second = (asyncio.create_task(verifier.verify(ALICE)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second


async def test_the_memory_is_bounded(
    path: Path, write: Write, hashings: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED", 2)
    write(**{f"u{n}": hashed("x") for n in range(3)})
    verifier = Verifier(UserFile(path))
    for n in range(3):
        assert await verifier.verify(Credentials(f"u{n}".encode(), b"x"))
    assert await verifier.verify(Credentials(b"u2", b"x"))
    assert len(hashings) == 3
    assert await verifier.verify(Credentials(b"u0", b"x"))
    assert len(hashings) == 4


async def test_without_a_file_nobody_gets_in(path: Path, write: Write) -> None:
    verifier = Verifier(UserFile(path))
    with pytest.raises(UserFileError):
        await verifier.verify(ALICE)
    write(alice=hashed("geheim"))
    assert await verifier.verify(ALICE)
    os.unlink(path)
    with pytest.raises(UserFileError):
        await verifier.verify(ALICE)
    os.mkdir(path)
    with pytest.raises(UserFileError):
        await verifier.verify(ALICE)
    os.rmdir(path)
    os.mkfifo(path)
    with pytest.raises(UserFileError, match="regular"):
        await verifier.verify(ALICE)


def test_credentials_do_not_show_their_password() -> None:
    assert "geheim" not in repr(ALICE)
    assert "geheim" not in f"{ALICE}"
