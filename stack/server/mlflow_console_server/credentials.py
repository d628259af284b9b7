"""Who may in: an htpasswd file, read as nginx reads it, and a memory of what was verified.

A hash that is worth having is slow, and a training client sends one request a metric. What makes
both possible is that "this password matches this hash" is true for ever: the
:class:`Verifier` remembers such pairs and asks the file on every request only which hash a user
has *now*. A changed or removed password therefore ends with the very next request, while adding
a user costs nobody else a second verification.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from passlib.context import CryptContext

#: Every scheme that Apache's htpasswd or nginx writes, without ``plaintext``: a bare word in the
#: file is junk, not a password. nginx's ``{PLAIN}`` says what it is and is compared in `matches`.
SCHEMES = (
    "bcrypt",
    "apr_md5_crypt",
    "ldap_sha1",
    "ldap_salted_sha1",
    "sha256_crypt",
    "sha512_crypt",
    "md5_crypt",
    "des_crypt",
)

#: A file younger than this when it was read may change again without a visible change of its
#: times, because file systems stamp with a coarse clock (10 ms on Linux, 2 s on FAT).
SETTLED_AFTER_NS = 2_000_000_000

#: Verified pairs of password and hash that are remembered; 32 bytes each.
REMEMBERED = 4096

#: Verifications that may run or wait at once; more are turned away, or a flood of wrong passwords
#: would hold the memory and the patience of everybody who logs in.
WAITING = 64

_PLAIN = b"{PLAIN}"
_BCRYPT_BYTES = 72
_CONTEXT = CryptContext(schemes=list(SCHEMES))
_END_OF_HASH = re.compile(rb"[:\r]")
#: What is verified for an unknown name in an empty file: cost 10, matches nothing that is known.
_DECOY = b"$2b$10$" + b"." * 53


class UserFileError(Exception):
    """The user file cannot be read, so nobody may in."""


class BusyError(Exception):
    """Too many verifications are waiting; the client may try again."""


@dataclass(frozen=True)
class Credentials:
    """A name and a password as RFC 7617 sends them: bytes, UTF-8 by our challenge.

    The password is left out of ``repr``, so that no log or traceback shows it.
    """

    name: bytes
    password: bytes

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"Credentials(name={self.name!r})"


@dataclass(frozen=True)
class Users:
    """The users of one reading of the file.

    Attributes:
        hashes: From name to hash field, both as bytes.
        decoy: The hash that an unknown name is verified against.
    """

    hashes: dict[bytes, bytes]
    decoy: bytes = _DECOY


def parse(content: bytes) -> Users:
    """Read an htpasswd file as nginx does.

    The first line of a name wins, even when its hash is broken; a line that begins with ``#``
    counts for nothing, what follows a second ``:`` is a comment, a line without ``:`` is junk.
    Names are compared byte for byte. Source: nginx, ``ngx_http_auth_basic_module.c``.

    Args:
        content: The file's bytes.

    Returns:
        The users. Their decoy is a hash of the kind that most of them have, so that an unknown
        name takes as long as a wrong password.
    """
    hashes: dict[bytes, bytes] = {}
    for line in content.split(b"\n"):
        name, colon, rest = line.partition(b":")
        if colon and name and not name.startswith((b"#", b"\r")):
            hashes.setdefault(name, _END_OF_HASH.split(rest, maxsplit=1)[0])
    kinds = Counter(_kind(field) for field in hashes.values() if _kind(field))
    if not kinds:
        return Users(hashes)
    commonest = kinds.most_common(1)[0][0]
    return Users(hashes, next(h for h in hashes.values() if _kind(h) == commonest))


def _kind(field: bytes) -> bytes:
    """Return what says how long a hash takes: scheme and cost; empty for what is no hash."""
    if field.startswith(b"{"):
        return field.partition(b"}")[0]
    if field.startswith(b"$"):
        # "$2y$12$...", "$6$rounds=5000$...": the first two fields; "$apr1$salt$": the first.
        scheme, second = field.split(b"$")[1:3] if field.count(b"$") > 1 else (b"", b"")
        return scheme + b"$" + (second if scheme[:1] == b"2" or b"rounds=" in second else b"")
    return b"crypt" if len(field) == 13 else b""  # the length of a DES hash


def matches(field: bytes, password: bytes) -> bool:
    """Say whether a password belongs to a hash. Slow by design; call it in a thread.

    bcrypt sees the first 72 bytes of a password and DES the first 8, as everywhere (``crypt``
    truncates, so do Apache and nginx): a longer password stays valid, its tail adds nothing.
    bcrypt 5 itself refuses longer ones, so they are cut here.

    Args:
        field: A hash field of the file, or any bytes.
        password: The password's bytes.

    Returns:
        Whether they match. A malformed or unknown hash matches nothing; it never raises.
    """
    if field.startswith(_PLAIN):
        plain = field.removeprefix(_PLAIN)
        # An empty one would also be what a reader sees of a half-written line.
        return bool(plain) and hmac.compare_digest(plain, password)
    try:
        text = field.decode("ascii")
        if text.startswith("$2"):
            password = password[:_BCRYPT_BYTES]
        return _CONTEXT.identify(text) is not None and bool(_CONTEXT.verify(password, text))
    except (ValueError, TypeError):
        # What the handlers raise for a broken hash and for a password that no hash can have
        # (one with a NUL byte, one beyond 4 KiB).
        return False


class UserFile:
    """The htpasswd file, read again whenever it may have changed.

    Asking costs one ``stat``. Only the times of a file that had settled before it was read are
    believed; a younger one is read again, and its bytes are compared (the rule by which git
    treats "racily clean" files: gitformat-index, racy-git).
    """

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet.

        Args:
            path: The htpasswd file.
        """
        self._path = path
        self._signature: tuple[int, ...] | None = None
        self._content: bytes | None = None
        self._users = Users({})

    def current(self) -> Users:
        """Return the users as the file has them now.

        Raises:
            UserFileError: If it is missing, unreadable or no regular file.
        """
        try:
            if self._signature is None or _signature(os.stat(self._path)) != self._signature:
                self._read()
        except OSError as error:
            self._signature = self._content = None
            reason = error.strerror or "it cannot be read"
            raise UserFileError(f"The user file {self._path}: {reason}.") from error
        return self._users

    def _read(self) -> None:
        """Read and parse the file; keep its signature only if that can be believed."""
        before = time.time_ns()
        # A FIFO without O_NONBLOCK would hold the event loop until somebody writes to it.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "It is not a regular file")
            content = file.read()
        # The change time moves with every write and cannot be set; a future one (a clock that
        # was put back) is not settled either.
        settled = before - status.st_ctime_ns > SETTLED_AFTER_NS
        self._signature = _signature(status) if settled else None
        if content != self._content:
            self._content, self._users = content, parse(content)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


class Verifier:
    """Checks credentials; belongs to one event loop.

    Hashing runs in a few threads (bcrypt lets go of the interpreter lock), so that what is
    already verified never waits for it, and however many wrong passwords arrive, one processor
    stays free where there are two. Equal credentials that arrive together share one hashing.
    """

    def __init__(self, users: UserFile) -> None:
        """Make an empty memory.

        Args:
            users: The file that says who has which hash.
        """
        self._users = users
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        threads = max(1, min(2, (os.cpu_count() or 1) - 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mlflow-console-lock")

    def knows(self, name: bytes) -> bool:
        """Say whether the file has a user of that name.

        Raises:
            UserFileError: If the file cannot be read.
        """
        return name in self._users.current().hashes

    def must_hash(self, credentials: Credentials) -> bool:
        """Say whether a verification of these credentials would begin a hashing now.

        Raises:
            UserFileError: If the file cannot be read.
        """
        field = self._users.current().hashes.get(credentials.name, b"")
        tag = self._tag(field, credentials)
        return tag not in self._good and tag not in self._running

    async def verify(self, credentials: Credentials) -> bool:
        """Say whether these credentials open the door now.

        Args:
            credentials: A name and a password.

        Returns:
            Whether the password matches the hash that the file has for the name at the time of
            the answer, not at the time of the question.

        Raises:
            UserFileError: If the file cannot be read.
            BusyError: If too many verifications are waiting.
        """
        users = self._users.current()
        while True:
            # An unknown name and one without a hash are nobody: no password opens, not even
            # the one of the user whose hash is the decoy.
            field = users.hashes.get(credentials.name, b"")
            tag = self._tag(field, credentials)
            if tag in self._good:
                self._good.move_to_end(tag)
                return True
            good = await self._hash(tag, field or users.decoy, credentials.password)
            good = good and bool(field)
            if good:
                self._remember(tag)
            # The file may have changed meanwhile, and then the verdict is about an old hash:
            # judge again by the new one. Each round needs another edit, so it ends.
            users = self._users.current()
            if users.hashes.get(credentials.name, b"") == field:
                return good

    def _tag(self, field: bytes, credentials: Credentials) -> bytes:
        """Return what stands for a password and a hash in the memory.

        Keyed by a secret of this process: neither a dump of the memory nor the time of a look-up
        says anything about a password.
        """
        parts = (field, credentials.name, credentials.password)
        lengths = b"".join(len(part).to_bytes(8, "big") for part in parts)
        return hmac.digest(self._key, lengths + b"".join(parts), hashlib.sha256)

    def _remember(self, tag: bytes) -> None:
        """Note a match; the one that was longest out of use goes. Mismatches are never noted."""
        self._good[tag] = None
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)

    async def _hash(self, tag: bytes, field: bytes, password: bytes) -> bool:
        """Hash in a thread, once for all who ask the same."""
        task = self._running.get(tag)
        if task is None:
            if len(self._running) >= WAITING:
                raise BusyError
            task = asyncio.create_task(self._in_thread(field, password))
            self._running[tag] = task
            task.add_done_callback(lambda _: self._running.pop(tag, None))
        # One client that hangs up must not cancel it for the others.
        return await asyncio.shield(task)

    async def _in_thread(self, field: bytes, password: bytes) -> bool:
        """Run `matches` off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, matches, field, password)
