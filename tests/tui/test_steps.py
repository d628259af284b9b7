"""The steps of a long operation: an engine that tells everything is heard, and stays calm."""

from __future__ import annotations

from console.core.progress import Progress
from console.tui.steps import LINES, Steps


def heard(*labels: str) -> Steps:
    steps = Steps()
    for label in labels:
        steps.add(Progress(label))
    return steps


def compose(*said: str, before: tuple[str, ...] = ()) -> Steps:
    """What Compose said, after other steps."""
    steps = heard(*before, "docker compose up")
    for line in said:
        steps.add(Progress("docker compose up", said=line))
    return steps


def lines(steps: Steps) -> list[str]:
    return list(steps.said)


def text(steps: Steps) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in steps.shown())


def test_all_steps_but_the_last_are_done() -> None:
    assert text(heard("settings written", "user made")) == "✓ settings written\n○ user made …\n"


def test_a_counted_step_stays_one_line() -> None:
    steps = Steps()
    for done in (1, 2, 3):
        steps.add(Progress("copying", done, 10, "files"))
    assert text(steps) == "○ copying  3 of 10 files\n"


def test_what_the_engine_says_belongs_to_the_step() -> None:
    steps = compose("Network lab_inside Created", before=("settings written",))
    assert text(steps) == "✓ settings written\n○ docker compose up …\n"
    assert lines(steps) == ["Network lab_inside Created"]


def test_the_newest_state_of_a_thing_takes_the_place_of_the_older() -> None:
    steps = compose(
        "Container lab-store-1 Starting",
        "Container lab-proxy-1 Waiting", "Container lab-store-1 Healthy",
    )  # fmt: skip
    assert lines(steps) == ["Container lab-store-1 Healthy", "Container lab-proxy-1 Waiting"]


def test_hundreds_of_lines_stay_a_few_and_the_image_stays_named() -> None:
    layers = [f"{number:012x} Downloading {number} MB" for number in range(300)]
    steps = compose("Image mysql:9.7 Pulling", *layers)
    assert len(steps.said) == LINES
    assert lines(steps)[0] == "Image mysql:9.7 Pulling"
    assert lines(steps)[-1] == layers[-1]


def test_each_line_is_one_line_of_the_screen() -> None:
    steps = compose(f"Container {'long-' * 60} \x1b[31mStarting")
    (part,) = steps.tail(40)
    assert len(part[0]) <= 40
    assert "\x1b" not in part[0]


def test_what_follows_the_engine_is_a_step_again() -> None:
    steps = compose("Container lab-1 Healthy", before=("docker compose down",))
    steps.add(Progress("healthy at http://localhost:5000"))
    assert text(steps).splitlines()[-1].startswith("○ healthy at")
    assert text(steps).count("✓") == 2
    assert lines(steps) == []
