"""End the records of runs that nobody works on, so that they hold no slot of a work queue.

If a worker dies with its run while the server is away, the run stays Pending or Running for ever: no
heartbeat was seen, so none is missed. Who drives an experiment knows which of its runs may be at work,
itself and what it has ordered just now:

    cycle, verify    any other was given up, or is of a drive of before
    drive            any other ends within seconds as `Driven`, or its process is dead

Ending the record of a run that is at work after all does no harm: the ledger decides what counts.
"""

import sys
from collections.abc import Collection

import httpx
import pandas as pd
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed

__all__ = ["clear_runs"]

OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
SHORT = pd.Timedelta("5min")
"""A run of `drive` that is not the one that drives ends sooner."""
CLEARED = "nobody works on it"
PAGE = 200


async def clear_runs(client: PrefectClient, root: str, me: object, keys: Collection[str]) -> int:
    """End the records of an experiment's runs that nobody works on; return how many.

    A server that is away or overloaded is left alone.

    Args:
        client: The server.
        root: Address of the experiment.
        me: Id of the run that drives, if it is one.
        keys: Idempotency keys of the runs that may be at work.
    """
    count = 0
    try:
        for kind in ("drive", "cycle", "verify"):
            for run in await _open_runs(client, kind):
                if run.parameters.get("experiment") == root and run.id != me:
                    count += await _clear(client, kind, run, keys)
    except (httpx.TransportError, PrefectHTTPStatusError):
        pass
    if count:
        sys.stderr.write(f"losda: {count} runs that nobody works on are ended in Prefect\n")
    return count


async def _open_runs(client: PrefectClient, kind: str) -> list[FlowRun]:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=["losda", kind]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=OPEN)),
    )
    return await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)


async def _clear(client: PrefectClient, kind: str, run: FlowRun, keys: Collection[str]) -> bool:
    """End the record of a run unless it may be at work."""
    if run.state is None:
        return False
    if kind == "drive":
        age = pd.Timestamp.now("UTC") - pd.Timestamp(run.state.timestamp)
        if run.state.is_scheduled() or age < SHORT:
            return False
    elif run.idempotency_key in keys:
        return False
    ended = Cancelled if run.state.is_scheduled() else Crashed
    await client.set_flow_run_state(run.id, ended(message=CLEARED), force=True)
    return True
