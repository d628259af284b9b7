"""Somebody who guesses passwords at a stack from an address of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import containers, engine

GUESSES_A_SECOND = 200
# At an even rate, each guess on a connection of its own, whatever the answers are.
_SCRIPT = """
import asyncio, base64, itertools, sys, time
user, rate = sys.argv[1], int(sys.argv[2])
answered = 0
async def guess(n):
    global answered
    login = base64.b64encode(f"{user}:guess {n}".encode()).decode()
    reader, writer = await asyncio.open_connection("proxy.internal", 80)
    writer.write(f"GET /version HTTP/1.0\\r\\nHost: proxy.internal\\r\\nAuthorization: Basic "
                 f"{login}\\r\\n\\r\\n".encode())
    status = (await reader.read()).split(b" ")[1]
    assert status in (b"401", b"429"), status
    answered += 1
    writer.close()
async def main():
    began, tasks = time.monotonic(), set()
    for n in itertools.count(1):
        task = asyncio.create_task(guess(n))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(max(0, began + n / rate - time.monotonic()))
        if n % 100 == 0:
            print(n, answered, time.monotonic() - began, flush=True)
asyncio.run(main())
"""


@contextmanager
def guessing(directory: Path, user: str) -> Iterator[Callable[[], tuple[float, float]]]:
    """Guess the password of a user of the stack in a folder.

    Yields:
        Gives how many guesses a second were made so far, and how many were answered.
    """
    known = containers.networks(containers.ids(directory)["proxy"])
    network = next(each for each in known if each.endswith("_inside"))
    run = ["--network", network, "--entrypoint", "python"]
    arguments = ("-uc", _SCRIPT, user, str(GUESSES_A_SECOND))
    with engine.container(engine.images()["MLFLOW_IMAGE"], *arguments, run=run) as name:

        def rates() -> tuple[float, float]:
            made, answered, seconds = map(float, engine.docker("logs", name).split()[-3:])
            return made / seconds, answered / seconds

        yield rates
