"""What Prefect keeps of an experiment's flow runs, and its removal when it is old.

A server keeps flow runs, their task runs, logs and artifacts for ever, unless it is told otherwise:

    PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs,orphans
    PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD=7776000      [s]; at least an hour
    PREFECT_SERVER_EVENTS_RETENTION_PERIOD=604800                   [s]; of events

which is for the operator of a server that many share. `losda gc` removes the runs of one
experiment, known by their tag, through the API, with all that belongs to them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import server
from flows.running import start_api

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

__all__ = ["remove_runs"]

PAGE = 100


def remove_runs(name: str, root: str, keep: timedelta, dry_run: bool) -> dict[str, Any]:
    """Remove the records of an experiment's flow runs that ended long ago.

    Args:
        name: Name of the experiment, which its runs have as a tag.
        root: Its address; runs of another experiment of this name stay.
        keep: Age after the end up to which nothing goes.
        dry_run: Only count them.

    Returns:
        How many flow runs and artifacts were removed.

    Raises:
        ConnectionError: The Prefect API does not answer.
    """
    found = {"flow_runs": 0, "artifacts": 0}
    if server.configured_api() is None and not _home().joinpath("prefect.db").exists():
        return found  # nothing was ever recorded
    with _client() as client:
        for run in list(_old_runs(client, name, root, datetime.now(UTC) - keep)):
            found["flow_runs"] += 1
            found["artifacts"] += _remove_artifacts(client, run, dry_run)
            if not dry_run:
                client.delete_flow_run(run.id)
    return found


@contextmanager
def _client() -> Iterator["SyncPrefectClient"]:
    """Talk to the configured API, or to one that is started for as long as the block runs."""
    import httpx

    api = start_api()
    try:
        api.wait()
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPError as error:
        raise ConnectionError(f"the Prefect API at {api.url}: {error}") from error
    finally:
        api.stop()


def _old_runs(
    client: "SyncPrefectClient", name: str, root: str, until: datetime
) -> Iterator["FlowRun"]:
    """Yield the flow runs of an experiment that ended before a time, oldest first."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    old = filters.FlowRunFilter(
        tags=filters.FlowRunFilterTags(all_=[f"experiment:{name}"]),
        end_time=filters.FlowRunFilterEndTime(before_=until),  # type: ignore[arg-type]
    )
    offset = 0
    while True:
        page = client.read_flow_runs(
            flow_run_filter=old, sort=FlowRunSort.START_TIME_ASC, limit=PAGE, offset=offset
        )
        for run in page:
            experiment = run.parameters.get("experiment", root)  # of deployments it is the address
            if (experiment.get("root") if isinstance(experiment, dict) else experiment) == root:
                yield run
        offset += len(page)
        if len(page) < PAGE:
            return


def _remove_artifacts(client: "SyncPrefectClient", run: "FlowRun", dry_run: bool) -> int:
    """Remove the artifacts of a flow run, which outlive it, and return their number."""
    from prefect.client.schemas import filters

    own = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=[run.id]))
    count = 0
    while True:
        page = client.read_artifacts(
            artifact_filter=own, limit=PAGE, offset=count if dry_run else 0
        )
        for artifact in page if not dry_run else []:
            client.delete_artifact(artifact.id)
        count += len(page)
        if len(page) < PAGE:
            return count


def _home() -> Path:
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
