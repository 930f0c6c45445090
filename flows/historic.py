"""The commands `losda reprocess | promote`: a past period in streams side by side."""

import asyncio
import json
from typing import Annotated, Any

from cyclopts import Parameter

from configs import Config, load
from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["promote", "reprocess"]

Spinup = Annotated[int | None, Parameter(name="--spinup")]


@reported
def reprocess(
    config: str,
    /,
    *,
    start: str | None = None,
    end: str | None = None,
    streams: int = 2,
    spinup: Spinup = None,
    out: str | None = None,
    method: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    overrides: Overrides = None,
    workers: int | None = None,
    deployment: str | None = None,
    dask: str | None = None,
    promote: bool = True,
    report: bool = True,
    as_json: Json = False,
) -> None:
    """Run a past period in streams side by side and join them into one archive.

    Each stream but the first begins some cycles before its part, from a first guess of its own; the
    report says whether that spin-up was long enough. The same command goes on where it was killed.

    Args:
        config: Name of a preset, or path of a YAML file.
        start: First cycle time; default: the configuration's.
        end: Last cycle time; default: the configuration's.
        streams: Number of streams.
        spinup: Cycles that each stream but the first runs before its part; default: 20.
        out: Directory or s3:// address of the reprocess; default experiments/NAME-METHOD-reprocess.
        method: Assimilation method.
        preset: Preset of the method.
        seed: Seed of all random draws.
        overrides: Any setting, as key=value; may be repeated.
        workers: Processes side by side, one thread each; default: the number of processors. 0 runs
            the streams in this process, one after the other.
        deployment: Run the streams on a work pool, as runs of this deployment, such as stream/gpu.
        dask: Run the streams on the Dask cluster with this address, such as tcp://host:8786.
        promote: Join the streams when they are done.
        report: Write report.html of the joined archive.
        as_json: Print one JSON document.
    """
    options = {"method.kind": method, "method.preset": preset, "seed": seed}
    given = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    settings = [*(overrides or []), *given]
    loaded = load(config, settings)
    parameters = {
        "config": config,
        "out": absolute(out or f"experiments/{loaded.name}-{loaded.method.kind}-reprocess"),
        "start": start,
        "end": end,
        "streams": streams,
        "spinup": spinup,
        "overrides": settings,
        "workers": workers,
        "deployment": deployment,
        "dask": dask,
        "promote": promote,
        "report": report,
    }
    with standard_output(as_json):
        document = _run(loaded, parameters)
    if as_json:
        print_json(document)
    else:
        from flows.joining import print_reprocess

        print_reprocess(document)


def _run(config: Config, parameters: dict[str, Any]) -> dict[str, Any]:
    """Check the input, then run the flow; a signal lets the cycles under way be finished."""
    from flows.running import start_api
    from flows.signals import run_until_signal, stopping
    from tasks.experiment import Experiment

    api = start_api(Experiment(root=parameters["out"], config=config))
    try:
        if parameters["deployment"] is not None and api.listener is not None:
            raise ValueError(
                f"deployment {parameters['deployment']!r}: no Prefect server is configured "
                "(PREFECT_API_URL)"
            )
        from flows.places import Where, require_place
        from flows.reprocessing import reprocess
        from flows.side_by_side import Wanted, prepare

        keys = ("config", "out", "start", "end", "streams", "spinup", "overrides")
        found = Wanted(*(parameters[key] for key in keys)).reprocessing()
        where = Where(*(parameters[key] for key in ("workers", "deployment", "dask")))
        if where.deployment or where.dask:
            api.wait()
            asyncio.run(require_place(where))
        prepare(found)
        api.wait()
        stopping.clear()
        return run_until_signal(lambda _: reprocess(**parameters), stopping)
    finally:
        api.stop()


@reported
def promote(directory: str, /, *, report: bool = True, as_json: Json = False) -> None:
    """Join the streams of a reprocess into one archive, and compare them where they overlap.

    `losda reprocess` does it at its end. It may be repeated at any time, for instance after a cycle
    of a stream was made again.

    Args:
        directory: Directory or s3:// address of the reprocess.
        report: Write report.html.
        as_json: Print one JSON document.
    """
    from flows.joining import join, print_reprocess
    from tasks.streams import read_reprocessing

    with standard_output(as_json):
        document = join(read_reprocessing(absolute(directory)), report)
    print_json(document) if as_json else print_reprocess(document)
