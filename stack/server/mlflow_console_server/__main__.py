"""``python -m mlflow_console_server --directory DIR -- PROGRAM [ARGUMENT...]``: supervise it.

Exit codes: 0 after SIGTERM or SIGINT, 1 when the program keeps failing, 2 for a wrong command
line, 75 when another supervisor has the directory.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mlflow_console_server.supervisor import EXIT_BUSY, BusyError, Supervisor, take_lock


def main(arguments: list[str] | None = None) -> int:
    """Run the supervisor.

    Args:
        arguments: The command line without the program's name; by default this process's.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mlflow_console_server",
        usage="%(prog)s --directory DIR -- PROGRAM [ARGUMENT...]",
        description="Keep a program running; its output goes to DIR/logs/tracking.log.",
    )
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR")
    # Split by hand: what argparse does with a second "--" differs between Python versions.
    arguments = sys.argv[1:] if arguments is None else arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, argv = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    if not argv:
        parser.error("the program to run is missing: ... -- PROGRAM [ARGUMENT...]")
    # The database, the artifacts and the log are their owner's alone, also those that the child
    # will make: MLflow sets no modes.
    os.umask(0o077)
    directory = options.directory.absolute()
    try:
        for name in ("logs", "run"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(directory / "run" / "tracking.lock")
    except BusyError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BUSY
    except OSError as error:
        sys.stderr.write(f"The supervisor cannot use {directory}: {error.strerror}.\n")
        return 1
    try:
        return Supervisor(directory, argv).run()
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main())
