"""Makes images: each thing once, whoever asks for it first."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from tests.images.programs import Programs
from tests.images.recipes import (
    AUTHORITIES,
    GO_ENVIRONMENT,
    GO_FLAGS,
    HERE,
    Base,
    Image,
    Program,
    files,
)


def in_engine(tag: str) -> bool:
    """Whether the engine has an image."""
    asked = subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False)
    return asked.returncode == 0


class Builder:
    """Makes images and what they are made from.

    Args:
        programs: What runs the tools.
        cache: The folder of files that outlive the engine.
    """

    def __init__(self, programs: Programs, cache: Path) -> None:
        self._programs = programs
        self._cache = cache
        self._lock = threading.Lock()
        self._made: dict[str, Future[None]] = {}

    def image(self, image: Image | Base) -> None:
        """See to it that the engine has an image."""
        if isinstance(image, Base):
            self._once(image.tag, partial(self._import, image))
        else:
            self._once(image.tag, partial(self._build, image))

    def program(self, program: Program) -> None:
        """See to it that the cache has a program."""
        self._once(program.cached, partial(self._install, program))

    def _once(self, key: str, make: Callable[[], None]) -> None:
        """Make it, or wait for the thread that does."""
        with self._lock:
            ours = key not in self._made
            made = self._made.setdefault(key, Future())
        if ours:
            try:
                make()
            except BaseException as error:
                made.set_exception(error)
                raise
            made.set_result(None)
        made.result()

    def _import(self, base: Base) -> None:
        """Make a base image from its tar."""
        if in_engine(base.tag):
            return
        self._once(base.cached, partial(self._bootstrap, base))
        self._programs.say(base.name, "docker import")
        self._programs.run(
            base.name, "docker", "import", "--change", 'CMD ["/bin/sh"]',
            self._cache / base.cached, base.tag,
        )  # fmt: skip

    def _bootstrap(self, base: Base) -> None:
        """Make the tar of a base image."""
        tar = self._cache / base.cached
        if tar.exists():
            return
        self._programs.say(base.name, "debootstrap")
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self._cache) as name:
            root, packed = Path(name, "root"), Path(name, "root.tar")
            # In a namespace of its own: what it mounts is gone with it, however it ends.
            self._programs.run(
                base.name, "unshare", "--mount", "debootstrap", "--variant=minbase", base.suite,
                root,
            )  # fmt: skip
            for path, file in files(HERE / "base" / "files"):
                shutil.copyfile(file, root / path)
            self._programs.run(
                base.name, "tar", "--numeric-owner", "--sort=name",
                f"--exclude-from={HERE / 'base' / 'exclude'}", "-C", root, "-cf", packed, ".",
            )  # fmt: skip
            packed.rename(tar)

    def _install(self, program: Program) -> None:
        """Build a Go program."""
        binary = self._cache / program.cached
        if binary.exists():
            return
        self._programs.say(program.name, "go install")
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self._cache) as name:
            self._programs.run(
                program.name, "go", "install", *GO_FLAGS, f"{program.module}@{program.version}",
                env=GO_ENVIRONMENT | {"GOBIN": name},
            )  # fmt: skip
            Path(name, program.name).rename(binary)

    def _build(self, image: Image) -> None:
        """Build an image from its folder."""
        if in_engine(image.tag):
            return
        for program in image.programs:
            self.program(program)
        self.image(image.base)
        self._programs.say(image.name, "docker build")
        # Beside the cache, so that the large files of it need not be copied.
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self._cache) as name:
            context = Path(name)
            for path, file in files(image.folder, *image.parts):
                (context / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, context / path)
                (context / path).chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
            for program in image.programs:
                os.link(self._cache / program.cached, context / program.name)
            if image.authorities:
                shutil.copyfile(AUTHORITIES, context / AUTHORITIES.name)
            self._programs.run(
                image.name, "docker", "build", "--force-rm", "--tag", image.tag,
                "--build-arg", f"{image.argument}={image.base.tag}",
                "--file", context / image.dockerfile, context,
                env={"DOCKER_BUILDKIT": "0"},
            )  # fmt: skip
        self._programs.say(image.name, "built")
