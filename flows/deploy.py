"""What `losda deploy` does: work pools, queues, deployments, automations; an experiment's schedule."""

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from configs.hiding import hide
from flows import server
from flows.automations import standing
from flows.deployments import Change, apply_file, read_file
from flows.running import prepare
from flows.scheduling import apply_automations, apply_schedule, remove_schedule
from flows.tables import print_rows
from tasks.announcing import ARRIVED, announce_arrival
from tasks.driver import save_settings, settings_of
from tasks.experiment import Experiment

__all__ = ["Wish", "deploy", "print_deploy", "wake"]


@dataclass(frozen=True)
class Wish:
    """What a server is to do about an experiment.

    Attributes:
        name: Name of the schedule.
        cron: When to wake the drive, UTC.
        remove: Drive it no more.
    """

    name: str
    cron: str
    remove: bool = False


def deploy(
    experiment: Experiment | None, wish: Wish, notify: str | None, dry_run: bool
) -> dict[str, Any]:
    """Apply everything to the server of PREFECT_API_URL and return the JSON document.

    Args:
        experiment: What is to be driven, if anything.
        wish: How, or that it is not any more.
        notify: Notification block, TYPE/NAME.
        dry_run: Change nothing.

    Raises:
        ConnectionError: The server does not answer.
        ValueError: There is no server, the password is wrong, or the input is.
    """
    url = _server()
    if experiment is not None and not (dry_run or wish.remove):
        prepare(experiment)  # whatever is wrong with it is found now
        save_settings(experiment)
    root = experiment.root if experiment else None
    try:
        changes = asyncio.run(_apply(root, wish, notify, dry_run))
    except httpx.TransportError as error:
        raise ConnectionError(f"the Prefect API at {url} does not answer ({error})") from None
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        raise ValueError(
            f"the Prefect API at {url} refuses the password; allowed is that of the server, "
            "as PREFECT_API_AUTH_STRING=USER:PASSWORD"
        ) from None
    return {
        "server": hide(url),
        "dry_run": dry_run,
        "changes": [asdict(change) for change in changes],
    }


def wake(root: str) -> dict[str, Any]:
    """Tell the server that observations of an experiment arrived, and return the JSON document.

    Raises:
        ConnectionError: The server does not answer.
        ValueError: There is no server, or no experiment.
    """
    url = _server()
    if settings_of(root) is None:
        raise ValueError(f"{root} is no experiment that was driven or deployed before")
    server.PrefectApi(url).wait()
    announce_arrival(root)
    EventsWorker.instance().drain()
    return {"server": hide(url), "experiment": root, "event": ARRIVED}


def _server() -> str:
    url = server.configured_api()
    if not url:
        raise ValueError(
            "PREFECT_API_URL is not set; allowed is the address of a Prefect server, "
            "such as http://127.0.0.1:4200/api (`losda up` starts one)"
        )
    return url


async def _apply(root: str | None, wish: Wish, notify: str | None, dry_run: bool) -> list[Change]:
    async with get_client() as client:
        if root and wish.remove:
            return await remove_schedule(client, root, dry_run)
        block = await _block(client, notify) if notify else None
        changes = await apply_file(client, read_file(), dry_run)
        changes += await apply_automations(client, standing(block), dry_run)
        if root:
            with suppress(*([ObjectNotFound] if dry_run else [])):
                changes += await apply_schedule(client, wish.name, root, wish.cron, dry_run)
        return changes


async def _block(client: PrefectClient, name: str) -> UUID:
    """Return the id of a notification block.

    Raises:
        ValueError: There is none.
    """
    kind, _, block = name.partition("/")
    try:
        found = await client.read_block_document_by_name(block, kind, include_secrets=False)
    except ObjectNotFound:
        raise ValueError(
            f"--notify {name!r}: the server has no such block; allowed is TYPE/NAME, "
            "such as slack-webhook/ops (`prefect block ls`)"
        ) from None
    return found.id


def print_deploy(document: dict[str, Any]) -> None:
    """Print what changed."""
    rows = [
        {
            "": f"{c['kind']} {c['name']}",
            "change": " ".join(filter(None, (c["change"], c["what"]))),
        }
        for c in document["changes"]
    ]
    print_rows(rows, document["server"] + (", without any change" if document["dry_run"] else ""))
