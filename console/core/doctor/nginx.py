"""The configuration of nginx as a tree: directives, blocks, includes, and what is inherited.

The syntax and the inheritance of directives: https://nginx.org/en/docs/beginners_guide.html
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

DEEPEST = 20
PREFIX = "/etc/nginx/"
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([{};])"""
    r"""|((?:\\.|\$\{[^}]*\}|[^\s{};"'\\])(?:\\.|\$\{[^}]*\}|[^\s{};\\])*)""",
    re.S,
)
_SIZE = re.compile(r"(\d+)([kmg]?)", re.I)
_TIME = re.compile(r"(\d+)(ms|[smhdwMy]?)")
_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30}
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800,
            "M": 2592000, "y": 31536000}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; a block where it has a body.

    Attributes:
        file: The path of the file it stands in.
    """

    name: str
    words: tuple[str, ...]
    file: str
    body: tuple[Directive, ...] | None = None

    def all(self, name: str) -> Iterator[Directive]:
        """The directives of a name in its body, not deeper."""
        return (each for each in self.body or () if each.name == name)


def parse(files: Mapping[str, str], main: str) -> Directive:
    """The whole configuration as one block.

    Args:
        files: Each file by its path.
        main: The path of the first.

    Raises:
        ValueError: It is no configuration of nginx.
    """
    return Directive("main", (), main, tuple(_read(files, main, 0)))


def _read(files: Mapping[str, str], path: str, depth: int) -> list[Directive]:
    if depth > DEEPEST:
        raise ValueError("files include each other without an end")
    found, end = _block(files, path, list(_tokens(files.get(path, ""))), 0, depth)
    if end:
        raise ValueError(f"{path} has a }} too many")
    return found


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Words and the three signs; True where it is a sign."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"its line {line} is no configuration of nginx")
        at = match.end()
        double, single, sign, word = match.groups()
        if sign is not None:
            yield sign, True
        elif (said := next((each for each in (double, single, word) if each is not None), None)
              ) is not None:  # fmt: skip
            yield said, False


def _block(
    files: Mapping[str, str], path: str, tokens: list[tuple[str, bool]], at: int, depth: int
) -> tuple[list[Directive], int]:
    """The directives from a place on, and where the block ended; 0 at the end of the file."""
    found: list[Directive] = []
    words: list[str] = []
    while at < len(tokens):
        said, is_sign = tokens[at]
        at += 1
        if not is_sign:
            words.append(said)
        elif said == "}":
            return found, at
        elif words and words[0] == "include" and said == ";":
            found += _included(files, words[1], depth)
            words = []
        elif words:
            body: tuple[Directive, ...] | None = None
            if said == "{":
                inner, at = _block(files, path, tokens, at, depth)
                body = tuple(inner)
                at = at or len(tokens)
            found.append(Directive(words[0], tuple(words[1:]), path, body))
            words = []
    return found, 0


def _included(files: Mapping[str, str], pattern: str, depth: int) -> list[Directive]:
    wanted = posixpath.join(PREFIX, pattern)
    matching = sorted(path for path in files if fnmatch.fnmatchcase(path, wanted))
    return [each for path in matching for each in _read(files, path, depth + 1)]


@dataclass(frozen=True, slots=True)
class Handing:
    """A location that hands requests on to a server behind.

    Attributes:
        names: Of the server that it is in.
        chain: The blocks it is in, from http to itself.
    """

    names: tuple[str, ...]
    chain: tuple[Directive, ...]

    @property
    def server(self) -> Directive:
        """The server that it is in."""
        return next(each for each in self.chain if each.name == "server")

    def value(self, name: str) -> str:
        """What a directive with one argument is here, inherited or not; "" where it is not set."""
        for block in reversed(self.chain):
            for each in block.all(name):
                return each.words[0] if each.words else ""
        return ""


def handings(main: Directive) -> list[Handing]:
    """The locations that people's requests go through to a server behind.

    Those that are exact (a health check), internal, or only reached inside of the machine, are
    not among them.
    """
    found = []
    for http in main.all("http"):
        for server in http.all("server"):
            listens = [each.words[0] for each in server.all("listen") if each.words]
            if listens and all(each.startswith("unix:") for each in listens):
                continue
            names = tuple(word for each in server.all("server_name") for word in each.words)
            chains = _passing(server, (http, server))
            found += [Handing(names, chain) for chain in chains]
    return found


def _passing(block: Directive, chain: tuple[Directive, ...]) -> Iterator[tuple[Directive, ...]]:
    for location in block.all("location"):
        if location.words[:1] == ("=",) or any(location.all("internal")):
            continue
        inner = (*chain, location)
        if any(location.all("proxy_pass")):
            yield inner
        yield from _passing(location, inner)


def size(text: str) -> int | None:
    """Bytes: "5g", "100m", "0"; None when it is no size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) << _SHIFTS[match[2].lower()]


def seconds(text: str) -> float | None:
    """Seconds: "1h", "1h30m", "90"; None when it is no time."""
    pieces = _TIME.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in pieces)
