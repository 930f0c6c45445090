"""The flows `reprocess` and `stream`: a past period in parts that are run side by side.

    reprocess   splits the period, has its streams run somewhere, joins them into one archive
    stream      one part: loops its cycles in one process with warm models

Both can be deployed; their parameters are checked, and everything else is in the directory of the
reprocess (`tasks.streams`).
"""

from datetime import datetime
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.signals import stopping

__all__ = ["reprocess", "stream"]

Address = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


@flow(name="stream", flow_run_name="{name} {directory}", persist_result=False)
async def stream(directory: Address, name: Annotated[str, Field(pattern=r"^s[0-9]{2,}$")]) -> None:
    """Run what the ledger lacks of one stream of a reprocess.

    Args:
        directory: Directory or s3:// address of the reprocess, the same on all machines.
        name: Name of the stream, such as s01.
    """
    from flows.running import choose_compiler
    from tasks.streams import read_reprocessing

    found = read_reprocessing(directory)
    # As `losda run` has it; the results are to be the same bit for bit.
    choose_compiler(found.whole.config)
    from flows.streaming import run_stream

    await run_stream(found.stream(name), stopping.is_set)


@flow(name="reprocess", flow_run_name="{config} {out}", persist_result=False)
async def reprocess(
    config: Annotated[str, Field(min_length=1)],
    out: Address,
    start: datetime | None = None,
    end: datetime | None = None,
    streams: Count = 2,
    spinup: Count | None = None,
    overrides: list[str] = [],  # noqa: B006 - Prefect's schema of parameters; never changed
    workers: Annotated[int, Field(ge=0)] | None = None,
    deployment: str | None = None,
    dask: str | None = None,
    promote: bool = True,
    report: bool = True,
) -> dict[str, Any]:
    """Run a past period in streams side by side and join them into one archive.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Directory or s3:// address of the reprocess, the same on all machines.
        start: First cycle time; the configuration's by default.
        end: Last cycle time; the configuration's by default.
        streams: Number of streams.
        spinup: Cycles that each stream but the first runs before its part; 20 by default.
        overrides: Any setting, as key=value.
        workers: Local processes side by side; as many as there are processors by default.
        deployment: Run the streams as runs of this deployment, such as stream/gpu.
        dask: Run the streams on the Dask cluster with this address.
        promote: Join the streams when they are done.
        report: Write report.html of the joined archive.
    """
    from configs import load
    from flows.running import choose_compiler

    choose_compiler(load(config, overrides))
    from flows.places import Where
    from flows.side_by_side import Wanted, run_reprocess

    first, last = (None if time is None else time.isoformat() for time in (start, end))
    wanted = Wanted(config, out, first, last, streams, spinup, tuple(overrides))
    return await run_reprocess(wanted, Where(workers, deployment, dask), promote, report)
