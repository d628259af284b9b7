"""The htpasswd file: every byte that is not changed survives, and it is read as nginx reads it.

Lines end in LF; the first line of a name is in force, later ones are dead; a line that begins with
`#` counts for nothing; the hash ends at the next `:` or CR, and what follows that `:` is a comment.
Names are compared byte for byte. Source: nginx, `src/http/modules/ngx_http_auth_basic_module.c`.

A user who is switched off is a comment of the form `# disabled: name:hash`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

DISABLED = b"# disabled: "

# Bytes of a line, without its end, that Apache's `htpasswd` writes and reads at once; what is
# beyond is a line of its own to it (`support/htpasswd.c`: a buffer of 256).
LONGEST_LINE = 254

_HASH = re.compile(rb"[^:\r\n]*")

# Scheme by the form of the hash. Sources: crypt(5) of libxcrypt; nginx, `src/core/ngx_crypt.c`
# for apr1, {SHA}, {SSHA} and {PLAIN}; the PHC string format for argon2.
_SCHEMES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("bcrypt", rb"\$2[abxy]?\$(\d\d)\$[./A-Za-z0-9]{53}"),
        ("apr1", rb"\$apr1\$[^$]{0,8}\$[./A-Za-z0-9]{22}"),
        ("sha", rb"\{SHA\}[+/=A-Za-z0-9]+"),
        ("ssha", rb"\{SSHA\}[+/=A-Za-z0-9]+"),
        ("plain", rb"\{PLAIN\}.+"),
        ("md5-crypt", rb"\$1\$[^$]{0,8}\$[./A-Za-z0-9]{22}"),
        ("sha256-crypt", rb"\$5\$(?:rounds=\d+\$)?[^$]{0,16}\$[./A-Za-z0-9]{43}"),
        ("sha512-crypt", rb"\$6\$(?:rounds=\d+\$)?[^$]{0,16}\$[./A-Za-z0-9]{86}"),
        ("yescrypt", rb"\$(?:y|gy)\$[./A-Za-z0-9]+\$[./A-Za-z0-9]*\$[./A-Za-z0-9]+"),
        ("argon2", rb"\$argon2(?:i|d|id)\$.+"),
        ("des-crypt", rb"[./A-Za-z0-9]{13}"),
    )
)
UNKNOWN = "unknown"

LEAST_BCRYPT_COST = 10
_STRONG = ("sha256-crypt", "sha512-crypt", "yescrypt", "argon2")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a password is kept.

    Attributes:
        name: For instance "bcrypt"; "unknown" where the form of the hash is none that is known.
        cost: The base-2 logarithm of bcrypt's rounds; None for other schemes.
    """

    name: str
    cost: int | None = None

    def __str__(self) -> str:
        return self.name if self.cost is None else f"{self.name} {self.cost}"

    @property
    def weak(self) -> bool:
        """Whether whoever reads the file soon has the password, or nobody can log in by it.

        apr1, md5-crypt, {SHA} and {SSHA} are tried at millions to billions a second on one
        graphics card, DES keeps 8 characters, {PLAIN} hides nothing, and bcrypt below cost 10 is
        less than today's hardware deserves (OWASP's Password Storage Cheat Sheet: 10 or more).
        sha256-crypt, sha512-crypt, yescrypt and argon2 are slow by design.
        """
        if self.name == "bcrypt":
            return (self.cost or 0) < LEAST_BCRYPT_COST
        return self.name not in _STRONG


def scheme_of(field: bytes) -> Scheme:
    """The scheme of a hash, by its form alone."""
    for name, pattern in _SCHEMES:
        match = pattern.fullmatch(field)
        if match:
            return Scheme(name, int(match[1]) if name == "bcrypt" else None)
    return Scheme(UNKNOWN)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of the file. Why it is a struct, `activity_answers` says.

    Attributes:
        raw: All of it, with its line end if it has one.
        name: The user's name; b"" where the line is no user's.
        field: The hash.
        enabled: False for a user who is switched off.
    """

    raw: bytes
    name: bytes = b""
    field: bytes = b""
    enabled: bool = True

    @property
    def is_user(self) -> bool:
        return bool(self.name)

    @property
    def is_junk(self) -> bool:
        """Neither a user nor a comment nor empty: nginx passes over it."""
        return not self.is_user and not self.raw.startswith(b"#") and bool(self.raw.strip())

    def with_field(self, field: bytes) -> Line:
        """The same line with another hash; name, comment and line end stay."""
        start = len(self._mark) + len(self.name) + 1
        raw = self.raw[:start] + field + self.raw[start + len(self.field) :]
        return Line(raw, self.name, field, self.enabled)

    def with_name(self, name: bytes) -> Line:
        """The same line of another name."""
        raw = self._mark + name + self.raw[len(self._mark) + len(self.name) :]
        return Line(raw, name, self.field, self.enabled)

    def switched(self, on: bool) -> Line:
        """The same line, in force or as a comment that keeps the hash."""
        raw = (b"" if on else DISABLED) + self.raw[len(self._mark) :]
        return Line(raw, self.name, self.field, on)

    @property
    def _mark(self) -> bytes:
        return b"" if self.enabled else DISABLED

    @property
    def apache_refuses(self) -> bool:
        """Too long for Apache's `htpasswd`, which takes no file in which it meets the rest of it.

        It wants a user, a comment or nothing in each of the pieces that it reads.
        """
        size = LONGEST_LINE + 1
        pieces = [self.raw[at : at + size].lstrip() for at in range(size, len(self.raw), size)]
        return any(x and not x.startswith(b"#") and b":" not in x for x in pieces)


def _line(raw: bytes) -> Line:
    if raw.startswith(DISABLED):
        name, field = _user(raw[len(DISABLED) :])
        # "# disabled: bob: left in May" is somebody's remark, and no user with a hash.
        if name and scheme_of(field).name != UNKNOWN:
            return Line(raw, name, field, enabled=False)
    if raw.startswith((b"#", b"\r")):
        return Line(raw)
    return Line(raw, *_user(raw))


def _user(text: bytes) -> tuple[bytes, bytes]:
    name, colon, rest = text.partition(b":")
    match = _HASH.match(rest)
    return (name, match[0]) if colon and match else (b"", b"")


@dataclass(frozen=True, slots=True)
class Htpasswd:
    """A whole file; `bytes(file)` gives back exactly what was parsed."""

    lines: tuple[Line, ...] = ()

    @classmethod
    def parse(cls, content: bytes) -> Htpasswd:
        """Read any bytes; nothing is ever refused."""
        return cls(tuple(_line(raw) for raw in _split(content)))

    def __bytes__(self) -> bytes:
        return b"".join(line.raw for line in self.lines)

    def users(self) -> Iterator[Line]:
        """The line that counts for each name: the first enabled one, else the first disabled."""
        enabled = {line.name for line in self.lines if line.is_user and line.enabled}
        seen: set[bytes] = set()
        for line in self.lines:
            if not line.is_user or line.name in seen:
                continue
            if line.enabled or line.name not in enabled:
                seen.add(line.name)
                yield line

    def find(self, name: str) -> Line | None:
        """The line that counts for a name, as `display` writes names."""
        return self.by_name().get(name)

    def by_name(self) -> dict[str, Line]:
        """The lines that count, by their names as `display` writes them.

        A name of text goes before one of other bytes that is written like it.
        """
        found: dict[str, Line] = {}
        for line in self.users():
            text = display(line.name)
            if text not in found or text.encode() == line.name:
                found[text] = line
        return found

    def add(self, name: bytes, field: bytes) -> Htpasswd:
        """With one more user at the end, whose line ends as the file's lines do."""
        lines = [*self.lines, _line(name + b":" + field + self._end)]
        return Htpasswd(self._ended(lines))

    def change(self, line: Line, field: bytes) -> Htpasswd:
        """With another hash in one line."""
        return Htpasswd(tuple(line.with_field(field) if x is line else x for x in self.lines))

    def rename(self, old: bytes, new: bytes) -> Htpasswd:
        """With every line of a name under another one: dead duplicates stay dead."""
        return Htpasswd(tuple(x.with_name(new) if x.name == old else x for x in self.lines))

    def disable(self, names: set[bytes]) -> Htpasswd:
        """With every line of these names as a comment: a dead duplicate would come alive.

        The line that was in force becomes the first of its name, or `enable` would bring an older
        password back that was switched off before.
        """
        force = {line.name: line for line in self.users() if line.enabled and line.name in names}
        lines: list[Line] = []
        placed: set[bytes] = set()
        for line in self.lines:
            if line.name in force and line.name not in placed:
                placed.add(line.name)
                lines.append(force[line.name].switched(on=False))
            if line.name not in force:
                lines.append(line)
            elif line is not force[line.name]:
                lines.append(line.switched(on=False))
        return Htpasswd(self._ended(lines))

    def enable(self, names: set[bytes]) -> Htpasswd:
        """With the line that counts for each of these names in force."""
        wanted = {id(line) for line in self.users() if line.name in names}
        return Htpasswd(tuple(x.switched(on=True) if id(x) in wanted else x for x in self.lines))

    def remove(self, names: set[bytes]) -> Htpasswd:
        """Without every line of these names: a dead duplicate that stayed would come alive."""
        return Htpasswd(tuple(line for line in self.lines if line.name not in names))

    @property
    def _end(self) -> bytes:
        return b"\r\n" if self.lines and self.lines[0].raw.endswith(b"\r\n") else b"\n"

    def _ended(self, lines: list[Line]) -> tuple[Line, ...]:
        """Lines of which all but the last have an end: the file's last one need not have any."""
        return tuple(
            line
            if line.raw.endswith(b"\n") or line is lines[-1]
            else Line(line.raw + self._end, line.name, line.field, line.enabled)
            for line in lines
        )

    def oddities(self) -> list[str]:
        """What counts for nothing or cannot work, one sentence each; no hash and no junk in it."""
        first: dict[bytes, int] = {line.name: 0 for line in self.users()}
        current = {id(line) for line in self.users()}
        said = []
        for number, line in enumerate(self.lines, 1):
            if line.apache_refuses:
                said.append(f"Line {number} is longer than {LONGEST_LINE} bytes: Apache's htpasswd "
                            "refuses the whole file")  # fmt: skip
            if line.is_junk:
                # What stands there may be a password in the wrong place: only its number is told.
                said.append(f"Line {number} is no user and no comment; it counts for nothing")
            elif line.is_user and id(line) in current:
                first[line.name] = number
                if scheme_of(line.field).name == UNKNOWN:
                    said.append(f"Line {number}: the password of {display(line.name)} is kept in "
                                "no known scheme; nobody can log in by it")  # fmt: skip
            elif line.is_user:
                said.append(f"Line {number} names {display(line.name)} again; line "
                            f"{first[line.name] or 'further down'} is in force")  # fmt: skip
        return said


def _split(content: bytes) -> list[bytes]:
    """The lines with their LF; unlike `splitlines`, a CR alone ends none."""
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


def display(name: bytes) -> str:
    """A name as text; bytes that are no UTF-8 are written in hexadecimal, with a backslash."""
    return name.decode("utf-8", "backslashreplace")
