"""`python -m tests.images`: makes what is missing, and writes build/images.env."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tests.images.build import Builder, in_engine
from tests.images.programs import ImageError, Programs
from tests.images.recipes import AUTHORITIES, EVERY, RESULT, WANTED, Base, Image

OLDEST_GO = (1, 21)
"""The first Go that gets itself the newer one that a module asks for."""


def cache_folder() -> Path:
    """Where files are kept that an engine's loss must not cost again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlflow-console-images"


def lineage(image: Image | Base) -> Iterator[Image | Base]:
    """An image, and what it stands on."""
    yield image
    if isinstance(image, Image):
        yield from lineage(image.base)


def lacks(missing: list[Image], cache: Path) -> Iterator[str]:
    """What this machine lacks to make the images, each with its remedy."""
    everything = {each for image in missing for each in lineage(image)}
    absent = [each for each in everything if not in_engine(each.tag)]
    bases = [each for each in absent if isinstance(each, Base)]
    if any(not (cache / base.cached).exists() for base in bases):
        if os.geteuid() != 0:
            yield "a base image is made by debootstrap, which only root may run: run this as root"
        if not shutil.which("debootstrap"):
            yield "debootstrap is missing: apt-get install debootstrap"
    programs = [program for image in missing for program in image.programs]
    if any(not (cache / program.cached).exists() for program in programs):
        yield from go_lacks()


def go_lacks() -> Iterator[str]:
    """What is wrong with this machine's Go, if anything."""
    if not shutil.which("go"):
        yield "go is missing, and the store is built by it: apt-get install golang"
        return
    version = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST_GO:
        wanted = ".".join(map(str, OLDEST_GO))
        yield f"the store needs Go {wanted} or newer; this is {found.group()}"


def make(missing: list[Image], cache: Path, programs: Programs) -> None:
    """Make images at the same time; the first failure ends the others."""
    builder = Builder(programs, cache)
    sources = [program for image in missing for program in image.programs]
    with ThreadPoolExecutor(len(missing) + len(sources)) as pool:
        # All the programs at once: each has a time when it keeps only one core busy.
        tasks = [pool.submit(builder.program, program) for program in sources]
        tasks += [pool.submit(builder.image, image) for image in missing]
        try:
            wait(tasks, return_when=FIRST_EXCEPTION)
            failed = [task.exception() for task in tasks if task.done()]
        finally:
            if not all(task.done() for task in tasks):
                programs.stop()
    for error in failed:
        if error is not None:
            raise error


def write_result() -> None:
    """Write the variables whole: a reader sees the old file or the new one."""
    RESULT.parent.mkdir(exist_ok=True)
    new = RESULT.with_suffix(".new")
    new.write_text("".join(f"{name}={image.tag}\n" for name, image in WANTED.items()))
    new.replace(RESULT)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """While no other checkout makes images: they have the engine and the cache in common."""
    waiting = FileLock(lock)
    try:
        waiting.acquire(timeout=0)
    except Timeout:
        print("waiting for another `make images` on this machine", flush=True)
        waiting.acquire()
    try:
        yield
    finally:
        waiting.release()


def ensure() -> int:
    """See to it that the engine has every image; returns how many were made."""
    if not shutil.which("docker"):
        raise ImageError("docker is missing: apt-get install docker.io")
    engine = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if engine.returncode != 0:
        raise ImageError(f"no Docker engine answers: {engine.stderr.strip()}")
    if not AUTHORITIES.exists():
        raise ImageError(f"{AUTHORITIES} is missing: apt-get install ca-certificates")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with alone(cache / "lock"):
        missing = [image for image in EVERY if not in_engine(image.tag)]
        if missing:
            for left in cache.glob("tmp-*"):
                shutil.rmtree(left)
            if found := list(lacks(missing, cache)):
                raise ImageError("\n".join(found))
            make(missing, cache, Programs(RESULT.parent / "images"))
    write_result()
    return len(missing)


def main() -> int:
    """Make the images; returns the exit code."""
    started = time.monotonic()
    # What an image is made of is read by its own accounts, however private this checkout is.
    os.umask(0o022)
    try:
        made = ensure()
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what is finished stays, and the next call goes on.", file=sys.stderr)
        return 130
    print(f"{made} of {len(EVERY)} images made in {time.monotonic() - started:.1f} s: {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
