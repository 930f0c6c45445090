"""The tiny experiment, finished runs of it, and losda commands."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from flows import server
from tests.drives import mapped
from tests.small_experiment import Tiny, make_tiny

Losda = Callable[..., tuple[int, str, str]]
REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny experiment's configuration, data and registry."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of losda processes: a Prefect home and a cache of their own."""
    folder = tmp_path_factory.mktemp("home")
    own = {"PREFECT_HOME": str(folder / "prefect"), "LOSDA_CACHE": str(folder / "cache")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LOSDA_", "PREFECT_"))}
    return inherited | own | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def api(environment: dict[str, str]) -> Iterator[server.PrefectApi]:
    """One Prefect API for all runs of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", environment["PREFECT_HOME"])
        patch.setenv("LOSDA_CACHE", environment["LOSDA_CACHE"])
        patch.delenv("PREFECT_API_URL", raising=False)
        started = server.start()
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: started.url}):
            started.wait()
            yield started
        patch.delenv("PREFECT_API_URL")


@pytest.fixture(scope="module")
def pools(api: server.PrefectApi) -> None:
    """The work pools and deployments of `prefect.yaml`."""
    from prefect.client.orchestration import get_client

    from flows.deployments import apply_file, read_file

    async def apply() -> None:
        async with get_client() as client:
            await apply_file(client, read_file())

    asyncio.run(apply())


@pytest.fixture(scope="session")
def finished(tiny: Tiny, api: server.PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of three cycles; copy it to change it."""
    from configs import load
    from flows.running import run_experiment
    from tasks.experiment import Experiment

    root = tmp_path_factory.mktemp("finished") / "e"
    experiment = Experiment(root=str(root), config=load(str(tiny.config)))
    document = run_experiment(experiment, report=False)
    (root.parent / "document.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def losda(api: server.PrefectApi, capsys: pytest.CaptureFixture[str]) -> Losda:
    """Run a losda command in this process: exit code, standard output, standard error."""
    from flows.cli import app

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return command


@pytest.fixture
def run(losda: Losda, tiny: Tiny) -> Losda:
    """Run the tiny experiment in a directory, without a report."""

    def start(root: Path, *arguments: object) -> tuple[int, str, str]:
        return losda("run", tiny.config, "--out", root, "--no-report", *arguments)

    return start


@pytest.fixture
def drive(losda: Losda, tiny: Tiny) -> Losda:
    """Drive the first three cycles, which are due since long."""

    def start(root: Path, *arguments: object, cycles: int = 3) -> tuple[int, str, str]:
        command = ("drive", tiny.config, "--out", root, "--cycles", cycles, *mapped())
        return losda(*command, *arguments)

    return start


@pytest.fixture
def losda_process(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a losda command in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import app; app()", *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def reprocessed(
    tiny: Tiny, api: server.PrefectApi, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of nine cycles in two streams, joined; copy it to change it."""
    from flows.reprocessing import reprocess

    root = tmp_path_factory.mktemp("reprocessed") / "r"
    end = datetime.fromisoformat("2001-01-05T00:00")
    options = {"end": end, "streams": 2, "spinup": 2, "workers": 0, "report": False}
    document = asyncio.run(reprocess(str(tiny.config), str(root), **options))
    (root.parent / "document.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def reprocess(losda: Losda, tiny: Tiny) -> Losda:
    """Reprocess nine cycles in two streams, unless other options are given."""
    usual = {"--end": "2001-01-05T00:00", "--streams": 2, "--spinup": 2}

    def start(root: Path | str, *options: object) -> tuple[int, str, str]:
        command = ("reprocess", tiny.config, "--out", root, "--workers", 0, "--no-report")
        period = [part for name, value in usual.items() if name not in options
                  for part in (name, value)]  # fmt: skip
        return losda(*command, *period, *options)

    return start
