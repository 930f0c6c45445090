from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.progress import Bar, Lines, Steps
from tasks.experiment import cycle_time
from tasks.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

CYCLES = [cycle_time(f"20010103T{hour:02d}") for hour in (0, 6, 12)]


@pytest.mark.parametrize("make", [Lines, Bar])
def test_every_cycle_shows_its_errors_and_how_many_are_done(
    make: "Callable[[int], Lines]", finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, plan = make(3), Plan.read(str(finished))
    texts = [shown.text(plan, time) for time in CYCLES]
    for time in CYCLES:
        shown.advance(plan, time)
    shown.close()
    assert shown.done == 3
    assert all("analysis 0." in text and "background" in text for text in texts)
    assert "20010103T12" in capsys.readouterr().err


def test_steps_write_every_tenth_once(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps("days")
    for done in range(101):
        steps.show(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0/100 days" and lines[-1] == "100/100 days" and len(lines) == 11
