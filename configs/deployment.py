"""What `prefect.yaml` says: work pools, their queues and the deployments.

It is Prefect's own file (`prefect deploy --all` reads the same deployments), with the work pools
under `definitions`. Limits sit on work queues: a queue keeps the order of its runs, a limit of a
deployment does not.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from configs.base import Model

__all__ = [
    "HEARTBEAT",
    "Address",
    "CycleName",
    "DeploymentFile",
    "DeploymentSpec",
    "PoolSpec",
    "QueueSpec",
]

HEARTBEAT = 30
"""Seconds between two signs of life of a run."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Address = Annotated[str, Field(pattern=r"^(s3://[^/@\s]+/|/)[^@\s]+$", examples=["s3://b/e"])]
"""Where an experiment lies: an absolute path or s3://, without credentials."""
CycleName = Annotated[str, Field(pattern=r"^\d{8}T\d{2}$", examples=["20050107T12"])]


class QueueSpec(Model):
    """One work queue of a pool."""

    name: Name
    """Its name."""
    priority: Annotated[int, Field(ge=1)] = 1
    """Runs of the queue with the smallest number start first."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """So many of its runs at once; no limit by default."""


class PoolSpec(Model):
    """One work pool."""

    name: Name
    """Its name."""
    description: str = ""
    """What it is for."""
    queues: tuple[QueueSpec, ...]
    """Its queues, besides `default`."""


class Place(Model):
    """Where the runs of a deployment are placed."""

    name: Name
    """The work pool."""
    work_queue_name: Name
    """The queue of it."""
    job_variables: dict[str, Any] = Field(default_factory=dict)
    """What the worker is told of a run, such as its environment; never a secret."""


class DeploymentSpec(Model):
    """One deployment of one flow."""

    name: Name
    """The deployment's name; with the flow's it is `cycle/gpu`."""
    flow_name: Name
    """The flow's name."""
    entrypoint: Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
    """The flow's module and name: workers import it."""
    description: str
    """What it does."""
    tags: tuple[str, ...]
    """Tags of the runs."""
    work_pool: Place
    """Where the runs are placed."""


class Definitions(Model):
    """What Prefect's own file does not know."""

    work_pools: tuple[PoolSpec, ...]
    """The work pools."""
    process: dict[str, Any] = Field(default_factory=dict)
    """Job variables that deployments share."""


class DeploymentFile(BaseModel, extra="forbid", frozen=True):
    """The file."""

    name: Literal["losda"]
    definitions: Definitions
    deployments: tuple[DeploymentSpec, ...]

    @model_validator(mode="after")
    def _queues_exist(self) -> "DeploymentFile":
        queues = {(p.name, q.name) for p in self.definitions.work_pools for q in p.queues}
        for deployment in self.deployments:
            place = deployment.work_pool.name, deployment.work_pool.work_queue_name
            if place not in queues:
                allowed = ", ".join(sorted("/".join(queue) for queue in queues))
                name = f"{deployment.flow_name}/{deployment.name}"
                raise ValueError(f"{name}: no queue {'/'.join(place)}; allowed: {allowed}")
        return self
