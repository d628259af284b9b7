"""What each image is made from, and the name that follows from it.

An image is named by the SHA-256 of everything that goes into it, so that one that is there need
not be made again, and one whose recipe was changed is not there.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
RESULT = REPOSITORY / "build" / "images.env"

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""The authorities that this machine trusts; pip in a build needs them behind a proxy."""


def fingerprint(*parts: str | bytes) -> str:
    """The first 16 hexadecimal digits of the parts' SHA-256.

    Lengths go in as well: "ab", "c" is something else than "a", "bc".
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()[:16]


def files(folder: Path, *names: str) -> Iterator[tuple[str, Path]]:
    """The files below parts of a folder, as (path inside of the folder, file), in order."""
    for name in names or (".",):
        start = folder / name
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(folder)), path


def contents(folder: Path, *names: str) -> Iterator[str | bytes]:
    """What a fingerprint has to know of files: path, whether it can be run, content."""
    for name, path in files(folder, *names):
        yield f"{name} {path.stat().st_mode & 0o100:o}"
        yield path.read_bytes()


GO_ENVIRONMENT = {"CGO_ENABLED": "0"}
GO_FLAGS = ("-trimpath", "-ldflags=-s -w")
"""Static, so that a program runs in any image; without what only a debugger reads."""


@dataclass(frozen=True)
class Program:
    """A Go program that the module proxy has the source of."""

    name: str
    module: str
    version: str

    @property
    def cached(self) -> str:
        """Its name in the cache of files."""
        made_from = (self.module, self.version, platform.machine(), str(GO_ENVIRONMENT), *GO_FLAGS)
        return f"{self.name}-{fingerprint(*made_from)}"


@dataclass(frozen=True)
class Base:
    """A Debian of packages that every Debian has, and our settings for apt and dpkg."""

    suite: str

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"base-{self.suite}"

    @property
    def digest(self) -> str:
        """The fingerprint of what it is made from."""
        return fingerprint(self.suite, platform.machine(), *contents(HERE / "base"))

    @property
    def cached(self) -> str:
        """Its name in the cache of files."""
        return f"{self.name}-{self.digest}.tar"

    @property
    def tag(self) -> str:
        """Its name in the engine."""
        return f"mlflow-console-test/{self.name}:{self.digest}"


@dataclass(frozen=True)
class Image:
    """What `docker build` makes of a folder.

    Args:
        name: The image's, without tag.
        base: What it stands on; its tag is given to the Dockerfile.
        argument: The build argument that takes the tag.
        folder: The build context; only `parts` of it go in, so that nothing else can matter.
        dockerfile: The Dockerfile's path inside of the context.
        programs: Go programs that go into the context by their names.
        authorities: Whether `AUTHORITIES` goes into the context.
    """

    name: str
    base: Base | Image
    argument: str = "BASE"
    folder: Path = field(default=HERE)
    parts: tuple[str, ...] = (".",)
    dockerfile: str = "Dockerfile"
    programs: tuple[Program, ...] = ()
    authorities: bool = False

    @property
    def tag(self) -> str:
        """Its name in the engine."""
        made_from: list[str | bytes] = [self.base.tag, self.argument, self.dockerfile]
        made_from += contents(self.folder, *self.parts)
        made_from += [program.cached for program in self.programs]
        if self.authorities:
            made_from.append(AUTHORITIES.read_bytes())
        return f"mlflow-console-test/{self.name}:{fingerprint(*made_from)}"


def own_suite() -> str:
    """A Debian that this checkout's Python runs in: the machine's own, where it is Debian's Python.

    Any other Python brings itself along; bookworm's systemd knows both versions of cgroups.
    """
    release = platform.freedesktop_os_release()
    ours = sys.base_prefix == "/usr" and release.get("ID") == "debian"
    return release.get("VERSION_CODENAME", "bookworm") if ours else "bookworm"


TRIXIE = Base("trixie")
SID = Base("sid")

MINIO = Program("minio", "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c")
MC = Program("mc", "github.com/minio/mc", "v0.0.0-20250313080218-cf909e1063a9")

PYTHON = Image("python", TRIXIE, folder=HERE / "python", authorities=True)
MLFLOW = Image(
    "mlflow",
    PYTHON,
    argument="PYTHON_IMAGE",
    folder=REPOSITORY / "stack",
    parts=(".dockerignore", "mlflow", "server/mlflow_console_server"),
    dockerfile="mlflow/Dockerfile",
)
MYSQL = Image("mysql", SID, folder=HERE / "mysql")
STORE = Image("store", TRIXIE, folder=HERE / "store", programs=(MINIO, MC))
NGINX = Image("nginx", TRIXIE, folder=HERE / "nginx")
SYSTEMD = Image("systemd", Base(own_suite()), folder=HERE / "systemd")

WANTED = {
    "MLFLOW_IMAGE": MLFLOW,
    "DATABASE_IMAGE": MYSQL,
    "STORE_IMAGE": STORE,
    "PROXY_IMAGE": NGINX,
}
"""Variables of a deployment's .env, and the images that they take."""

EVERY = (*WANTED.values(), SYSTEMD)
"""All images; the last one is no part of a stack."""
