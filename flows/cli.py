"""The command line: `losda COMMAND`.

    run | report | status | rerun | gc                    an experiment
    ingest | errors | crossvalidate                       observations, their errors and worth
    drive | monitor | hold | release                      in operations
    reprocess | promote                                   a past period in streams
    up | deploy | wake                                    on a Prefect server with workers
    benchmark | tune | train | registry | check | world   methods, components, settings
    rehearse                                              data that are not there yet

Tables are for people; `--json` prints one JSON document on standard output and everything else on
standard error. Exit codes: 0 done, 1 failed, 2 bad input. What a command needs is imported when it
runs: help comes at once.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

from cyclopts import App
from rich.console import Console

from configs import Config, load
from flows.deploying import deploy, up, wake
from flows.errors import one_line, reported
from flows.historic import promote, reprocess
from flows.observing import crossvalidate, errors, ingest
from flows.operating import drive, gc, hold, monitor, release, rerun
from flows.output import Json, Overrides, absolute, print_json, standard_output
from flows.registering import registry
from flows.rehearsing import rehearse

__all__ = ["app"]

app = App(
    name="losda",
    help="Cycling atmospheric data assimilation with LO-SDA.",
    version=lambda: _version(),  # defined below
    error_formatter=lambda error: f"losda: {one_line(error)}",
    error_console=Console(stderr=True, soft_wrap=True, markup=False, highlight=False),
)
COMMANDS = (
    *(drive, monitor, hold, release, rerun, gc),
    *(reprocess, promote),
    *(up, deploy, wake),
    *(ingest, errors, crossvalidate),
    *(registry, rehearse),
)
for command in COMMANDS:
    app.command(command)


@app.command
@reported
def run(
    config: str,
    /,
    *,
    out: str | None = None,
    cycles: int | None = None,
    method: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    overrides: Overrides = None,
    report: bool = True,
    as_json: Json = False,
) -> None:
    """Run the cycles of an experiment, from where its directory's ledger ends.

    Where another process is at work on the experiment it waits, and takes over if that one dies.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Directory or s3:// address of the experiment; default experiments/NAME-METHOD.
        cycles: Number of cycles.
        method: Assimilation method.
        preset: Preset of the method.
        seed: Seed of all random draws.
        overrides: Any setting, as key=value; may be repeated.
        report: Write report.html.
        as_json: Print one JSON document.
    """
    from flows.running import run_experiment
    from tasks.experiment import Experiment

    options = {"cycles": cycles, "method.kind": method, "method.preset": preset, "seed": seed}
    settings = _load(config, overrides, options)
    root = absolute(out or f"experiments/{settings.name}-{settings.method.kind}")
    with standard_output(as_json):
        document = run_experiment(Experiment(root=root, config=settings), report=report)
    if as_json:
        print_json(document)
    else:
        from flows.tables import print_run

        print_run(document)


@app.command
@reported
def train(
    config: str,
    /,
    *,
    out: str | None = None,
    registry: str | None = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train the components of a configuration and publish them; goes on where it was killed.

    Started several times by `torchrun --no-python`, the processes divide the batches.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Working directory; default training/NAME.
        registry: Address of the registry to publish to; default OUT/registry.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.train import train as train_components

    settings = _load(config, overrides, {})
    work = out or f"training/{settings.name}"
    with standard_output(as_json):
        document = train_components(settings, registry or f"{work}/registry", work)
    if as_json and document is not None:
        print_json(document)


@app.command
@reported
def report(directory: str, /, *, as_json: Json = False) -> None:
    """Write the report of an experiment, one self-contained page, and print its address.

    Args:
        directory: Directory or s3:// address of the experiment.
        as_json: Print one JSON document.
    """
    from tasks.report import write_report

    with standard_output(as_json):
        address = write_report(absolute(directory))
    print_json({"report": address}) if as_json else sys.stdout.write(f"{address}\n")


@app.command
@reported
def status(directory: str, /, *, watch: bool = False, as_json: Json = False) -> None:
    """Show which stages of which cycles are committed or stale, what is held, what it waits for.

    Args:
        directory: Directory or s3:// address of the experiment.
        watch: Keep showing the last cycles on the terminal until Ctrl-C.
        as_json: Print one JSON document.
    """
    from flows.status import print_status, status_of

    if watch and as_json:
        raise ValueError("status: --watch and --json; allowed is one of them")
    if watch:
        from flows.watching import watch as watch_experiment

        watch_experiment(absolute(directory))
        return
    document = status_of(absolute(directory))
    print_json(document) if as_json else print_status(document)


@app.command
@reported
def check(config: str, /, *, overrides: Overrides = None, as_json: Json = False) -> int:
    """Check everything that a run needs, without running: one line each.

    Args:
        config: Name of a preset, or path of a YAML file.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.checking import check_all

    settings = _load(config, overrides, {})
    with standard_output(as_json):
        findings = check_all(settings, show=not as_json)
    if as_json:
        print_json({"ok": all(f["ok"] for f in findings), "checks": findings})
    return 0 if all(finding["ok"] for finding in findings) else 2


@app.command
@reported
def benchmark(
    config: str = "benchmark",
    /,
    *,
    out: str | None = None,
    workers: int = 2,
    only: list[str] | None = None,
    as_json: Json = False,
) -> None:
    """Compare assimilation methods on the same truth, observations and cycles.

    Args:
        config: Name of a benchmark of the package, or path of a YAML file.
        out: Directory of the cases and results; default benchmarks/NAME.
        workers: Processes side by side, one thread each; 0 runs the cases in this one.
        only: Labels of the methods to run; may be repeated.
        as_json: Print one JSON document.
    """
    from configs.loading import load_benchmark
    from flows.benchmark import run_benchmark

    settings = load_benchmark(config)
    with standard_output(as_json):
        root = absolute(out or f"benchmarks/{settings.name}")
        document = run_benchmark(settings, root, workers, only or [])
    if as_json:
        print_json(document)
    else:
        from flows.tables import print_benchmark

        print_benchmark(document)


@app.command
@reported
def tune(
    method: str, /, *, out: str | None = None, workers: int = 2, as_json: Json = False
) -> None:
    """Search the settings of a method in cycles of the validation period.

    Args:
        method: Name of a search of the package, or path of a YAML file.
        out: Directory of the cases and the table; default tuning.
        workers: Processes side by side, one thread each; 0 runs the cases in this one.
        as_json: Print one JSON document.
    """
    from configs.loading import load_search
    from flows.tune import tune as search_settings

    search = load_search(method)
    with standard_output(as_json):
        document = search_settings(search, absolute(out or "tuning"), workers)
    if as_json:
        print_json(document)
    else:
        sys.stdout.write(f"{search.name}: {json.dumps(document['best'])}\n")


@app.command
@reported
def world(*, out: str = "world", days: int = 365, seed: int = 0, as_json: Json = False) -> None:
    """Simulate the embedded world and draw its climate and its predictability.

    Args:
        out: Directory for the pictures and world.json.
        days: Length of the simulation; the seasons need a year.
        seed: Seed of the simulation.
        as_json: Print one JSON document.
    """
    from flows.progress import Steps
    from tasks.world_report import world_report

    with standard_output(as_json):
        numbers = world_report(absolute(out), days, seed, Steps("simulated days").show)
    if as_json:
        print_json(numbers)
        return
    from flows.tables import print_rows

    print_rows([{"": name, "value": f"{n:.4g}"} for name, n in numbers.items()], f"in {out}")


def _load(config: str, overrides: Sequence[str] | None, options: Mapping[str, object]) -> Config:
    given = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return load(config, [*(overrides or []), *given])


def _version() -> str:
    try:
        return metadata.version("losda")
    except metadata.PackageNotFoundError:
        return "not installed"
