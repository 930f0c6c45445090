"""`monitor.html` beside a run, beside a drive, and at will."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows import monitoring
from flows.monitoring import monitored
from tasks import monitor, store
from tasks.experiment import cycle_name, cycle_time
from tasks.monitor import Monitor
from tasks.plan import Plan
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")


def numbers(root: Path) -> dict[str, Any]:
    html = (root / "monitor.html").read_text()
    found = re.search(r'id="numbers">(.*?)</script>', html, re.DOTALL)
    assert found
    shown = dict(json.loads(found.group(1)))
    return {name: value for name, value in shown.items() if name != "refreshed"}


def table(root: Path) -> Any:  # noqa: ANN401
    return json.loads((root / "monitor" / "000000.json").read_text())


def test_a_run_leaves_the_page_that_can_be_made_again_from_the_ledger(
    losda: Losda, finished: Path, copy: Path
) -> None:
    assert list(table(finished)) == list(CYCLES)
    for name in ("monitor.html", "monitor"):
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, out, _ = losda("monitor", copy, "--json")
    assert code == 0 and json.loads(out)["changed"] == 3
    assert numbers(copy) == numbers(finished) and table(copy) == table(finished)
    assert json.loads(losda("monitor", copy, "--json")[1])["changed"] == 0
    assert losda("monitor", copy)[1] == f"{copy / 'monitor.html'}\n"


def test_the_numbers_are_those_of_the_run(finished: Path) -> None:
    document = json.loads((finished.parent / "document.json").read_text())
    shown = numbers(finished)
    for source in ("analysis", "background", "free"):
        expected = [cycle[source] for cycle in document["cycles"]]
        assert shown["errors"]["all"][source] == pytest.approx(expected, rel=1e-3)
    feedback = Plan.read(str(finished)).committed(cycle_time(CYCLES[0]), "analysis").summary
    used = sum(one["used"][0] for one in shown["departures"])
    rejected = sum(one["rejected"][0] for one in shown["departures"])
    assert (used, used + rejected) == (feedback["used"], feedback["observations"])


def test_after_a_rerun_only_what_was_made_again_is_read_again(
    losda: Losda, tiny: "Tiny", copy: Path
) -> None:
    assert losda("rerun", copy, CYCLES[1], "--stage", "analysis")[0] == 0
    assert json.loads(losda("monitor", copy, "--json")[1])["changed"] == 2
    assert list(table(copy)) == [CYCLES[0]]
    assert losda("run", tiny.config, "--out", copy, "--no-report")[0] == 0
    assert list(table(copy)) == list(CYCLES)
    assert table(copy)[CYCLES[1]]["generations"] == [1, 2, 2]
    assert json.loads(losda("monitor", copy, "--json")[1])["changed"] == 0


def test_a_drive_shows_its_schedule_and_what_failed(
    losda: Losda, tiny: "Tiny", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import work

    root = tmp_path / "e"

    def fail(*given: object) -> None:
        raise ArithmeticError("it <blew> up")

    clock = ("kind=mapped", "at=2020-01-01T00:00", "rate=1e6")
    options = [word for one in clock for word in ("--set", f"operations.clock.{one}")]
    command = ("drive", tiny.config, "--out", root, "--once", *options)
    assert losda(*command, "--cycles", 1)[0] == 0
    assert len(numbers(root)["delay"]) == 1 and numbers(root)["delay"][0] > 0
    monkeypatch.setattr(work, "forecast_work", fail)
    assert losda(*command, "--cycles", 2, "--set", "operations.attempts=1")[0] == 1
    page = (root / "monitor.html").read_text()
    assert 'class="state bad"' in page and "Somebody is needed." in page
    assert "it &lt;blew&gt; up" in page and "<blew>" not in page


def test_a_page_that_cannot_be_written_keeps_no_cycle_from_being_made(
    losda: Losda,
    tiny: "Tiny",
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError("no page")

    monkeypatch.setattr(monitor.Monitor, "write", broken)
    root = tmp_path / "e"
    code, _, err = losda("run", tiny.config, "--out", root, "--no-report")
    assert code == 0 and err.count("monitor.html is not refreshed") == 1
    assert archive_of(root) == archive_of(finished)


def test_what_was_missed_while_the_page_failed_is_made_up_for(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy / "monitor")
    plan, write = Plan.read(str(copy)), Monitor.write
    failures = iter([True, False])

    def once(self: Monitor) -> str:
        if next(failures, False):
            raise OSError("full")
        return write(self)

    monkeypatch.setattr(Monitor, "write", once)
    (copy / "monitor.html").unlink()
    with monitored(plan) as pages:
        ended = time.monotonic() + 60
        while not pages.said and time.monotonic() < ended:
            time.sleep(0.01)
        shutil.rmtree(copy / "monitor")
        pages.published(cycle_time(CYCLES[2]))
    assert monitoring.current() is None
    assert list(table(copy)) == list(CYCLES) and (copy / "monitor.html").exists()


@pytest.mark.s3
def test_the_page_of_an_experiment_on_s3(finished: Path, s3_root: str) -> None:
    for path in finished.rglob("*"):
        name = path.relative_to(finished).as_posix()
        kept = ("ledger/", "feedback/", "analysis.zarr/zarr.json", "experiment.yaml", "attempts/")
        if path.is_file() and name.startswith(kept):
            store.write_bytes(store.join(s3_root, name), path.read_bytes())
    made = Monitor.of(Plan.read(s3_root))
    assert made.catch_up() == 3
    page = store.read_bytes(made.write()).decode()
    assert all(cycle_name(cycle_time(cycle)) in page for cycle in CYCLES)
