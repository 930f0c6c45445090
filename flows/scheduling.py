"""The schedule of an experiment: `drive/cpu` wakes by cron, and when observations arrive.

Cron is a wake-up, not the definition of the cycles: what is due is asked of the ledger. So a server
that was away for days leaves nothing out, and many wake-ups do no harm.
"""

from collections.abc import Sequence

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore

from flows.automations import wake
from flows.deployments import Change

__all__ = ["apply_automations", "apply_schedule", "remove_schedule"]

DRIVE = "drive/cpu"


async def apply_automations(
    client: PrefectClient, wanted: Sequence[AutomationCore], dry_run: bool = False
) -> list[Change]:
    """Let a server have automations; of several with one name the first is taken."""
    return [await _apply_automation(client, automation, dry_run) for automation in wanted]


async def _apply_automation(
    client: PrefectClient, wanted: AutomationCore, dry_run: bool
) -> Change:
    found = await client.read_automations_by_name(wanted.name)
    if not found:
        if not dry_run:
            await client.create_automation(wanted)
        return Change("automation", wanted.name, "created")
    if all(isinstance(action, DoNothing) for action in wanted.actions):
        # whom somebody let it notify, it goes on to notify
        wanted = wanted.model_copy(update={"actions": found[0].actions})
    fields = ("description", "trigger", "actions")
    there = {name: _plain(found[0], name) for name in fields}
    what = [name for name in fields if there[name] != _plain(wanted, name)]
    if what and not dry_run:
        # the client leaves out what was not set: an action would lose its type and do nothing
        complete = wanted.model_dump(mode="json", exclude={"owner_resource"})
        complete |= {"enabled": found[0].enabled}
        await client.update_automation(found[0].id, AutomationCore.model_validate(complete))
    return Change("automation", wanted.name, "changed" if what else "unchanged", ", ".join(what))


def _plain(automation: AutomationCore, name: str) -> object:
    return _sorted(automation.model_dump(mode="json", exclude={"trigger": {"id"}})[name])


def _sorted(document: object) -> object:
    """Return a document with its lists of texts in order: they stand for sets."""
    if isinstance(document, dict):
        return {key: _sorted(value) for key, value in document.items()}
    if isinstance(document, list):
        if all(isinstance(value, str) for value in document):
            return sorted(document)
        return [_sorted(value) for value in document]
    return document


async def apply_schedule(
    client: PrefectClient, name: str, root: str, cron: str, dry_run: bool = False
) -> list[Change]:
    """Let an experiment be driven.

    Args:
        client: The server, with the deployment `drive/cpu`.
        name: Name of the schedule.
        root: Address of the experiment.
        cron: When to wake, UTC.
        dry_run: Change nothing.

    Raises:
        ValueError: Another experiment has a schedule of this name.
    """
    deployment = await client.read_deployment_by_name(DRIVE)
    schedule = CronSchedule(cron=cron, timezone="UTC")
    there = _named(deployment.schedules, name)
    parameters = {"experiment": root}
    if there is not None and there.parameters.get("experiment") != root:
        raise ValueError(
            f"{name}: {there.parameters.get('experiment')} is driven under this name; "
            "another experiment needs another --name"
        )
    if there is None:
        if not dry_run:
            new = DeploymentScheduleCreate(schedule=schedule, parameters=parameters, slug=name)
            await client.create_deployment_schedules(deployment.id, [new])
        change = Change("schedule", name, "created", cron)
    elif getattr(there.schedule, "cron", None) != cron:
        if not dry_run:
            # what is not given again is lost
            await client.update_deployment_schedule(
                deployment.id,
                there.id,
                active=there.active,
                schedule=schedule,
                parameters=parameters,
                slug=name,
            )
        change = Change("schedule", name, "changed", cron)
    else:
        change = Change("schedule", name, "unchanged", cron)
    return [change, *await apply_automations(client, [wake(name, root, deployment.id)], dry_run)]


async def remove_schedule(client: PrefectClient, root: str, dry_run: bool) -> list[Change]:
    """Let an experiment be driven no more by the server.

    Raises:
        ValueError: It is not.
    """
    deployment = await client.read_deployment_by_name(DRIVE)
    there = next((s for s in deployment.schedules if s.parameters.get("experiment") == root), None)
    if there is None:
        raise ValueError(f"{root}: the server has no schedule of this experiment")
    name = there.slug or ""
    automations = await client.read_automations_by_name(f"losda: wake {name}")
    if not dry_run:
        await client.delete_deployment_schedule(deployment.id, there.id)
        for automation in automations:
            await client.delete_automation(automation.id)
    return [
        Change("schedule", name, "removed"),
        *(Change("automation", automation.name, "removed") for automation in automations),
    ]


def _named(schedules: Sequence[DeploymentSchedule], name: str) -> DeploymentSchedule | None:
    return next((schedule for schedule in schedules if schedule.slug == name), None)
