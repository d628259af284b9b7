"""The steps of a long operation: an engine that tells everything is heard, and stays calm."""

from __future__ import annotations

from console.core.progress import Progress
from console.tui.steps import LINES, Steps


def heard(*labels: str) -> Steps:
    steps = Steps()
    for label in labels:
        steps.add(Progress(label))
    return steps


def lines(steps: Steps) -> list[str]:
    return [line.label for line in steps.said]


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
    steps = heard("settings written", "docker compose up (lab)", "Network lab_inside Created")
    assert text(steps) == "✓ settings written\n○ docker compose up (lab) …\n"
    assert lines(steps) == ["Network lab_inside Created"]


def test_the_newest_state_of_a_thing_takes_the_place_of_the_older() -> None:
    steps = heard(
        "docker compose up (lab)", "Container lab-store-1 Starting",
        "Container lab-proxy-1 Waiting", "Container lab-store-1 Healthy",
    )  # fmt: skip
    assert lines(steps) == ["Container lab-store-1 Healthy", "Container lab-proxy-1 Waiting"]


def test_hundreds_of_lines_stay_a_few_and_the_image_stays_named() -> None:
    layers = [f"{number:012x} Downloading {number} MB" for number in range(300)]
    steps = heard("docker compose up (lab)", "Image mysql:9.7 Pulling", *layers)
    assert len(steps.said) == LINES
    assert lines(steps)[0] == "Image mysql:9.7 Pulling"
    assert lines(steps)[-1] == layers[-1]


def test_each_line_is_one_line_of_the_screen() -> None:
    steps = heard("docker compose up (lab)", f"Container {'long-' * 60} \x1b[31mStarting")
    (part,) = steps.tail(40)
    assert len(part[0]) <= 40
    assert "\x1b" not in part[0]


def test_what_follows_the_engine_is_a_step_again() -> None:
    steps = heard("docker compose down (lab)", "Container lab-1 Removed", "docker compose up (lab)",
                  "Container lab-1 Healthy", "healthy at http://localhost:5000")  # fmt: skip
    assert text(steps).splitlines()[-1].startswith("○ healthy at")
    assert text(steps).count("✓") == 2
    assert lines(steps) == []
