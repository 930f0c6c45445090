import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tasks import store
from tasks.ledger import (
    Attempt,
    Commit,
    Ledger,
    StageResult,
    StaleCommitError,
    fingerprint,
    open_experiment,
    run_stage,
)

Start = Callable[..., "subprocess.Popen[str]"]

TIME = pd.Timestamp("2001-01-01T06:00")

RACE = """
import sys
import pandas as pd
from tasks import ledger_lease, store
from tasks.ledger import Ledger, StageResult, run_stage
ledger_lease.EXPIRES = -1  # nobody heeds a lease
root, name = sys.argv[1:]
def work(attempt):
    print("ready", flush=True)
    sys.stdin.readline()
    store.write_bytes(attempt.address + "/x", name.encode() * 1000, durable=False)
    return StageResult({"work": 1.0}, {"by": name, "attempt": attempt.name})
commit = run_stage(Ledger(root), pd.Timestamp("2001-01-01T06"), "analysis",
                   fingerprint="f", inputs={}, work=work)
print(commit.attempt, commit.summary["by"])
"""


@pytest.fixture
def unheeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody heed a lease, as if all were lost: the commit alone decides."""
    monkeypatch.setattr("tasks.ledger_lease.EXPIRES", -1.0)


class Counted:
    """Work that writes a file and counts how often it was done."""

    def __init__(self, content: bytes = b"x" * 1000) -> None:
        self.content = content
        self.count = 0

    def __call__(self, attempt: Attempt) -> StageResult:
        self.count += 1
        store.write_bytes(store.join(attempt.address, "deep", "x"), self.content, durable=False)
        return StageResult({"work": 0.5}, {"count": self.count, "trace": [1.0, math.nan]})


def run(root: str, work: Callable[[Attempt], StageResult], mark: str = "f") -> Commit:
    return run_stage(
        Ledger(root), TIME, "analysis", fingerprint=mark, inputs={"before": "e"}, work=work
    )


def test_a_stage_is_done_once(root: str) -> None:
    work = Counted()
    first, second = run(root, work), run(root, work)
    assert work.count == 1
    assert first == second == Ledger(root).committed(TIME, "analysis")


def test_a_commit_says_what_was_made(root: str) -> None:
    commit = run(root, Counted())
    assert commit.address == store.join(root, "attempts/20010101T06/analysis", commit.attempt)
    assert commit.digests == {"deep/x": store.digest(b"x" * 1000)}
    assert (commit.fingerprint, commit.inputs) == ("f", {"before": "e"})
    assert commit.seconds == {"work": 0.5}
    assert commit.summary == {"count": 1, "trace": [1.0, None]}
    assert commit.cycle_time == TIME
    assert "torch" in commit.versions
    assert pd.Timestamp(commit.created).tzinfo is not None


def test_a_moved_experiment_keeps_its_commits(tmp_path: Path) -> None:
    commit = run(str(tmp_path / "here"), Counted())
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Ledger(str(tmp_path / "there")).committed(TIME, "analysis")
    assert moved is not None
    assert moved.address == commit.address.replace("here", "there")
    Ledger(str(tmp_path / "there")).verify(moved)


def test_another_fingerprint_is_refused_and_loses_nothing(root: str) -> None:
    work = Counted()
    commit = run(root, work)
    before = store.digests(root)
    with pytest.raises(StaleCommitError, match=r"analysis of cycle 20010101T06 .* is stale"):
        run(root, work, mark="other")
    assert work.count == 1
    assert store.digests(root) == before
    assert Ledger(root).committed(TIME, "analysis") == commit


def test_failed_work_commits_nothing_and_is_done_again(root: str) -> None:
    def fail(attempt: Attempt) -> StageResult:
        store.write_bytes(store.join(attempt.address, "x"), b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        run(root, fail)
    assert Ledger(root).committed(TIME, "analysis") is None
    commit = run(root, Counted())
    assert commit.attempt.startswith("a2-")


def test_the_loser_takes_the_winners_commit_and_its_attempt_is_removed(
    root: str, unheeded: None
) -> None:
    inner = Counted(b"winner")
    lost: list[str] = []

    def overtaken(attempt: Attempt) -> StageResult:
        run(root, inner)
        lost.append(attempt.address)
        return Counted(b"loser")(attempt)

    commit = run(root, overtaken)
    assert store.read_bytes(store.join(commit.address, "deep/x")) == b"winner"
    assert store.files(lost[0]) == ()
    assert store.files(store.join(root, "attempts")) == (
        f"20010101T06/analysis/{commit.attempt}/deep/x",
    )


def test_a_loser_with_another_fingerprint_is_told(tmp_path: Path, unheeded: None) -> None:
    def overtaken(attempt: Attempt) -> StageResult:
        run(str(tmp_path), Counted(), mark="other")
        return StageResult()

    with pytest.raises(StaleCommitError):
        run(str(tmp_path), overtaken)


def test_a_repeated_commit_does_not_lose_to_itself(root: str) -> None:
    commit = run(root, Counted())
    assert Ledger(root).commit(commit) == commit
    Ledger(root).verify(commit)


def test_of_racing_processes_one_commits_and_all_agree(root: str, run_python: Start) -> None:
    processes = [run_python(RACE, root, name) for name in "abc"]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = {process.communicate(timeout=60)[0] for process in processes}
    assert len(results) == 1
    attempt, name = results.pop().split()
    commit = Ledger(root).committed(TIME, "analysis")
    assert commit is not None
    assert commit.attempt == attempt
    assert commit.digests == {"x": store.digest(name.encode() * 1000)}
    Ledger(root).verify(commit)
    assert store.files(store.join(root, "attempts")) == (f"20010101T06/analysis/{attempt}/x",)


def test_a_killed_attempt_leaves_the_stage_open(root: str, run_python: Start) -> None:
    process = run_python(RACE, root, "a")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    work = Counted()
    run(root, work)
    assert work.count == 1
    assert Ledger(root).cycles() == {TIME: ("analysis",)}


def test_cycles_are_listed_in_order_of_time(root: str) -> None:
    ledger = Ledger(root)
    assert ledger.cycles() == {}
    for hours, stage in ((6, "forecast"), (0, "forecast"), (0, "analysis")):
        time = TIME + pd.Timedelta(hours=hours)
        run_stage(ledger, time, stage, fingerprint="f", inputs={}, work=Counted())
    later = TIME + pd.Timedelta(hours=6)
    assert list(ledger.cycles().items()) == [
        (TIME, ("analysis", "forecast")),
        (later, ("forecast",)),
    ]


@pytest.mark.parametrize("time", ["2001-01-01T06:30", "2001-01-01T06:00Z"])
def test_a_time_without_a_name_is_refused(tmp_path: Path, time: str) -> None:
    with pytest.raises(ValueError, match="allowed is a full hour"):
        Ledger(str(tmp_path)).committed(pd.Timestamp(time), "analysis")


def test_an_altered_attempt_is_found(root: str) -> None:
    commit = run(root, Counted())
    Ledger(root).verify(commit)
    store.write_bytes(store.join(commit.address, "deep/x"), b"y" * 1000)
    with pytest.raises(ValueError, match=r"deep/x was altered"):
        Ledger(root).verify(commit)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"stage": 3}', b"\xff"])
def test_a_broken_commit_is_named(tmp_path: Path, content: bytes) -> None:
    address = tmp_path / "ledger" / "20010101T06" / "analysis.json"
    store.write_bytes(address, content)
    with pytest.raises(ValueError, match=r"analysis\.json is no commit: ") as info:
        Ledger(str(tmp_path)).committed(TIME, "analysis")
    assert "\n" not in str(info.value)


BASE: dict[str, dict[str, str]] = {
    "configuration": {"seed": "1", "code": "c"},
    "checkpoints": {"denoiser": "d"},
    "inputs": {"forecast": "f"},
}


@pytest.mark.parametrize("part", list(BASE))
def test_the_fingerprint_depends_on_every_part(part: str) -> None:
    base = fingerprint("analysis", **BASE)
    reordered = {name: dict(reversed(values.items())) for name, values in BASE.items()}
    assert fingerprint("analysis", **reordered) == base
    assert fingerprint("analysis", **BASE | {part: {**BASE[part], "more": "x"}}) != base
    assert fingerprint("forecast", **BASE) != base


CONFIG = {"name": "a", "start": "2001-01-01T00:00:00", "method": {"kind": "free", "steps": [1, 2]}}


def test_an_experiment_opens_again_with_its_configuration(root: str) -> None:
    open_experiment(root, CONFIG)
    before = store.digests(root)
    open_experiment(root, CONFIG)
    assert store.digests(root) == before == {"experiment.yaml": before["experiment.yaml"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "b"}, "name is 'a' there and 'b' here"),
        ({"method": {"kind": "free", "steps": [1, 3]}}, "method.steps is"),
        ({"new": 1}, "new is 'absent' there and 1 here"),
        ({"start": None}, "start is '2001-01-01T00:00:00' there and None here"),
    ],
)
def test_another_configuration_is_another_experiment(
    root: str, change: dict[str, object], message: str
) -> None:
    open_experiment(root, CONFIG)
    before = store.digests(root)
    with pytest.raises(ValueError, match=message) as info:
        open_experiment(root, CONFIG | change)
    assert "\n" not in str(info.value)
    assert store.digests(root) == before


def test_a_broken_experiment_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"experiment\.yaml is not YAML"):
        open_experiment(str(tmp_path), CONFIG)
