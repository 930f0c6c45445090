"""A run that meets a full disk or another run of its experiment."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks import ledger_lease, store, work
from tasks.experiment import STAGES
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")


@pytest.mark.parametrize("full", ["write_bytes", "create_exclusive"])
@pytest.mark.parametrize("stage", ["observations", "analysis"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    run: Losda, finished: Path, tmp_path: Path, full: str, stage: str
) -> None:
    root, write = tmp_path / "e", getattr(store, full)

    def fail(address: object, data: bytes, **options: object) -> object:
        if f"20010103T06/{stage}" in str(address):
            raise OSError(errno.ENOSPC, "No space left on device", str(address))
        return write(address, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, full, fail)
        for module in ("tasks.assimilate", "tasks.tables"):
            patch.setattr(f"{module}.write_bytes", fail, raising=False)
        for task in (work.ingest, work.assimilate):
            patch.setattr(task, "retries", 0)
        code, out, err = run(root, "--json")
    assert (code, out) == (1, "")
    lines = [line for line in err.splitlines() if line.startswith("losda: ")]
    assert len(lines) == 1 and "No space left on device" in lines[0] and stage in lines[0]
    assert "Traceback" not in err
    assert not (root / "ledger" / CYCLES[1] / f"{stage}.json").exists()
    assert (root / "ledger" / CYCLES[0] / f"{stage}.json").exists()
    assert run(root)[0] == 0
    assert archive_of(root) == archive_of(finished)


def test_a_run_waits_for_another_and_takes_over_when_that_one_dies(
    run: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_lease, "EXPIRES", 2.0)
    root = tmp_path / "e"
    lease = ledger_lease.lease_of("a1-there").model_copy(update={"host": "elsewhere"})
    path = root / "attempts" / CYCLES[0] / STAGES[0] / "lease.json"
    store.write_bytes(path, lease.model_dump_json().encode())
    code, _, err = run(root)
    assert code == 0
    waiting = [line for line in err.splitlines() if line.endswith("waiting for it")]
    assert len(waiting) == 1 and "forecast of cycle 20010103T00" in waiting[0]
    assert "elsewhere" in waiting[0]
    assert archive_of(root) == archive_of(finished)


def test_two_runs_of_one_experiment_share_the_work(
    losda_process: Callable[..., object], tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    command = ("run", tiny.config, "--out", root, "--no-report", "--json")
    runs = [losda_process(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in runs]  # type: ignore[attr-defined]
    assert [process.returncode for process in runs] == [0, 0], outputs  # type: ignore[attr-defined]
    assert all(err.count("waiting for it") <= 1 for _, err in outputs), outputs
    means = [json.loads(out)["mean"] for out, _ in outputs]
    assert means[0] == means[1]
    assert archive_of(root) == archive_of(finished)
    assert not list(root.glob("attempts/*/*/lease.json"))
