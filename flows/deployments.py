"""Apply `prefect.yaml` and the automations to a Prefect server, and say what changed.

What is as it should be is left alone, so the command can be repeated. Schedules are not in the file:
each experiment has one of its own at `drive/cpu` (`flows.scheduling`).
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type
from pydantic import ValidationError

from configs.deployment import DeploymentFile, DeploymentSpec, PoolSpec, QueueSpec

__all__ = ["Change", "apply_file", "changed", "read_file"]

FILE = "prefect.yaml"
KIND = "process"


@dataclass(frozen=True)
class Change:
    """What was done to one thing.

    Attributes:
        kind: `work pool`, `work queue`, `deployment`, `schedule` or `automation`.
        name: Its name.
        change: `created`, `changed`, `removed` or `unchanged`.
        what: The fields that were changed.
    """

    kind: str
    name: str
    change: str
    what: str = ""


def read_file() -> DeploymentFile:
    """Return the content of `prefect.yaml`: beside this package in a wheel, else above it.

    Raises:
        ValueError: It is wrong.
    """
    here = Path(__file__).resolve().parent
    path = next(p for p in (here / FILE, here.parent / FILE) if p.is_file())
    try:
        return DeploymentFile.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}, found {first['input']!r}") from None


def changed(wanted: Mapping[str, Any], there: object) -> list[str]:
    """Return the fields in which something differs from what is wanted."""
    return [name for name, value in wanted.items() if getattr(there, name) != value]


async def apply_file(
    client: PrefectClient, file: DeploymentFile, dry_run: bool = False
) -> list[Change]:
    """Let a server have the work pools, queues and deployments of the file."""
    changes = []
    for pool in file.definitions.work_pools:
        changes.append(await _apply_pool(client, pool, dry_run))
        for queue in pool.queues:
            changes.append(await _apply_queue(client, pool.name, queue, dry_run))
    for spec in file.deployments:
        changes.append(await _apply_deployment(client, spec, dry_run))
    return changes


async def _apply_pool(client: PrefectClient, pool: PoolSpec, dry_run: bool) -> Change:
    """Create a pool of processes; one of another type (Kubernetes) is left as it is."""
    try:
        there = await client.read_work_pool(pool.name)
    except ObjectNotFound:
        if not dry_run:
            template = await get_default_base_job_template_for_infrastructure_type(KIND)
            await client.create_work_pool(
                WorkPoolCreate(
                    name=pool.name,
                    description=pool.description,
                    type=KIND,
                    base_job_template=template or {},
                )
            )
        return Change("work pool", pool.name, "created")
    return Change("work pool", pool.name, "unchanged", "" if there.type == KIND else there.type)


async def _apply_queue(
    client: PrefectClient, pool: str, queue: QueueSpec, dry_run: bool
) -> Change:
    name = f"{pool}/{queue.name}"
    wanted: dict[str, Any] = {"priority": queue.priority, "concurrency_limit": queue.limit}
    try:
        there = await client.read_work_queue_by_name(queue.name, work_pool_name=pool)
    except ObjectNotFound:
        if not dry_run:
            await client.create_work_queue(queue.name, work_pool_name=pool, **wanted)
        return Change("work queue", name, "created")
    found = changed(wanted, there)
    if found and not dry_run:
        await client.update_work_queue(there.id, **wanted)
    return Change("work queue", name, "changed" if found else "unchanged", ", ".join(found))


async def _apply_deployment(client: PrefectClient, spec: DeploymentSpec, dry_run: bool) -> Change:
    name = f"{spec.flow_name}/{spec.name}"
    wanted = _fields(spec)
    try:
        there: DeploymentResponse = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        if not dry_run:
            flow_id = await client.create_flow_from_name(spec.flow_name)
            await client.create_deployment(flow_id, name=spec.name, **wanted)
        return Change("deployment", name, "created")
    found = changed(wanted, there)
    if found and not dry_run:
        await client.update_deployment(there.id, DeploymentUpdate(**wanted))
    return Change("deployment", name, "changed" if found else "unchanged", ", ".join(found))


@cache
def _flow(entrypoint: str) -> "Flow[..., Any]":
    module, _, name = entrypoint.rpartition(".")
    found: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _fields(spec: DeploymentSpec) -> dict[str, Any]:
    """Return what a deployment must be like."""
    schema = parameter_schema(_flow(spec.entrypoint)).model_dump_for_openapi()
    return {
        "entrypoint": spec.entrypoint,
        "description": spec.description,
        "tags": list(spec.tags),
        "work_pool_name": spec.work_pool.name,
        "work_queue_name": spec.work_pool.work_queue_name,
        "job_variables": dict(spec.work_pool.job_variables),
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
    }
