"""Streams on local processes, on a Prefect work pool and on Dask: the same archive, whoever is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

    from flows import server

Losda = Callable[..., tuple[int, str, str]]
Start = Callable[..., "subprocess.Popen[str]"]

PERIOD = ("--end", "2001-01-05T00:00", "--streams", 2, "--spinup", 2)
Found = TypeVar("Found")
POOL, DEPLOYMENT = "streams", "stream/test"


def wait_for(condition: Callable[[], Found], seconds: float = 90) -> Found:
    ended = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ended
        time.sleep(0.05)
    return found


def lease_of(stream: Path) -> int:
    """Return the process that is at work on a stream, 0 if there is none."""
    try:
        return int(json.loads((stream / "drive" / "lease.json").read_text())["process"])
    except (FileNotFoundError, ValueError):
        return 0


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_killed_stream_is_begun_again_and_a_killed_command_goes_on_anywhere(
    losda_process: Start, losda: Losda, tiny: "Tiny", reprocessed: Path, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    command = ("reprocess", tiny.config, *PERIOD, "--out", root, "--no-report", "--json")
    first = losda_process(*command, "--workers", 2)
    streams = [root / "streams" / name for name in ("s01", "s02")]
    wait_for(lambda: list(streams[1].glob("ledger/*/analysis.json")))
    victim = lease_of(streams[1])
    if victim:
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: lease_of(streams[1]) not in (0, victim) or first.poll() is not None)
    assert first.poll() in (None, 0)
    children = [process for stream in streams if (process := lease_of(stream))]
    first.kill()
    wait_for(lambda: not any(map(is_alive, children)))
    code, out, err = losda(*command, "--workers", 0)
    assert code == 0, err
    assert json.loads(out)["promoted"]
    assert archive_of(root) == archive_of(reprocessed)


@pytest.fixture
def worker(
    api: "server.PrefectApi", environment: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process work pool with a deployment of the flow `stream`, and a worker."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.deployments.runner import EntrypointType, RunnerDeployment

    from flows.reprocessing import stream

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    deployment = RunnerDeployment.from_flow(
        stream, name="test", work_pool_name=POOL, entrypoint_type=EntrypointType.MODULE_PATH
    )
    deployment.apply()
    # Prefect's worker ignores SIGTERM if it inherits an ignored SIGINT
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
        env=environment | {"PREFECT_API_URL": api.url, "PREFECT_WORKER_QUERY_SECONDS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_streams_run_on_a_work_pool(
    losda: Losda,
    worker: "subprocess.Popen[bytes]",
    tiny: "Tiny",
    reprocessed: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "r"
    code, out, err = losda(
        *("reprocess", tiny.config, *PERIOD, "--out", root, "--no-report", "--json"),
        *("--deployment", DEPLOYMENT),
    )
    assert code == 0, err
    assert json.loads(out)["promoted"]
    assert archive_of(root) == archive_of(reprocessed)
    code, _, err = losda(
        *("reprocess", tiny.config, *PERIOD, "--out", tmp_path / "s"),
        *("--deployment", "stream/none"),
    )
    assert code == 2
    assert "'stream/none'" in err and DEPLOYMENT in err and len(err.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_what_was_begun_elsewhere_goes_on_on_a_dask_cluster(
    losda: Losda,
    tiny: "Tiny",
    reprocessed: Path,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distributed = pytest.importorskip("distributed")
    for name in ("PYTHONPATH", "PREFECT_HOME", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, environment[name])
    root, place = Path(shutil.copytree(reprocessed, tmp_path / "r")), {"n_workers": 1}
    for path in (root / "streams" / "s02", root / "analysis.zarr", root / "published"):
        shutil.rmtree(path)
    with distributed.LocalCluster(**place, dashboard_address=None) as cluster:
        code, out, err = losda(
            *("reprocess", tiny.config, *PERIOD, "--out", root, "--no-report", "--json"),
            *("--dask", cluster.scheduler_address),
        )
    assert code == 0, err
    assert json.loads(out)["promoted"]
    assert archive_of(root) == archive_of(reprocessed)
