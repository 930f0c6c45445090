"""The automations of a Prefect server: what it does about runs that are late, failed, stalled, dead.

    late      no worker took a run that should have begun          notification
    failed    a run ended as failed or crashed                     notification
    stalled   a run of `cycle` or `verify` goes on for an hour     cancelled, so that a device is free
    zombie    no heartbeat for 90 s, not even a first one          crashed: its worker is gone
    lost      a run that a worker took did not begin for 3 min     crashed: its worker is gone

    wake      observations of an experiment arrived                `drive/cpu` runs

Whatever an automation misses, the next look of a drive makes good: Prefect's events may be lost, the
ledger is not. Notifications need a Prefect block, which holds its secrets; without one the event is
only to be seen in Prefect.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import (
    ActionTypes,
    CancelFlowRun,
    ChangeFlowRunState,
    DoNothing,
    RunDeployment,
    SendNotification,
)
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from configs.deployment import HEARTBEAT
from tasks.announcing import ARRIVED, OBSERVATIONS, resource_id

__all__ = ["standing", "wake"]

STALLED = timedelta(hours=1)
LOST = timedelta(minutes=3)
RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
ENDED = {"Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "TimedOut"}


def standing(notification: UUID | None) -> list[AutomationCore]:
    """Return the automations of every server.

    Args:
        notification: The block that notifies people.
    """
    return [
        AutomationCore(
            name="losda: late run",
            description="A run waits for a worker for too long.",
            trigger=_trigger({"prefect.flow-run.Late"}, _tagged("losda")),
            actions=[_notify(notification, "is late: does a worker serve its pool?")],
        ),
        AutomationCore(
            name="losda: failed run",
            description="A run failed; a drive tries again, and holds after too many failures.",
            trigger=_trigger(
                {f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")},
                _tagged("losda"),
            ),
            actions=[_notify(notification, "failed")],
        ),
        AutomationCore(
            name="losda: stalled run",
            description="A cycle goes on for an hour: it is cancelled, and the drive tries again.",
            trigger=_trigger(
                {f"prefect.flow-run.{name}" for name in ENDED},
                _tagged("cycle", "verify"),
                after={"prefect.flow-run.Running"},
                within=STALLED,
            ),
            actions=[CancelFlowRun()],
        ),
        _crashed_when_silent(
            "losda: zombie run",
            "A run gave no sign of life for three heartbeats: its worker is gone.",
            # one that dies before its first heartbeat would never miss one
            after={"prefect.flow-run.heartbeat", "prefect.flow-run.Running"},
            within=timedelta(seconds=3 * HEARTBEAT),
            message="missing heartbeats",
        ),
        _crashed_when_silent(
            "losda: lost run",
            "A worker took a run and did not begin it: both are gone.",
            after={"prefect.flow-run.Pending"},
            within=LOST,
            message="did not begin",
        ),
    ]


def wake(name: str, root: str, deployment: UUID) -> AutomationCore:
    """Return the automation that wakes the drive of an experiment when observations arrive.

    What the drive itself ingests does not wake it.

    Args:
        name: Name of the experiment's schedule.
        root: Address of the experiment.
        deployment: The deployment `drive/cpu`.
    """
    return AutomationCore(
        name=f"losda: wake {name}",
        description=f"Observations of {root} arrived.",
        trigger=EventTrigger(
            expect={ARRIVED, OBSERVATIONS},
            match=ResourceSpecification(
                {"prefect.resource.id": resource_id(root), "losda.driven": "no"}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                parameters={"experiment": root},
                job_variables=None,
            )
        ],
    )


def _trigger(
    expect: set[str],
    related: ResourceSpecification,
    after: set[str] | None = None,
    within: timedelta = timedelta(0),
) -> EventTrigger:
    """Return what fires for each run: on an event, or if none comes within a time after another."""
    return EventTrigger(
        after=after or set(),
        expect=expect,
        match=RUNS,
        match_related=related,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive if after else Posture.Reactive,
        threshold=1,
        within=within,
    )


def _crashed_when_silent(
    name: str, description: str, after: set[str], within: timedelta, message: str
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        trigger=_trigger({"prefect.flow-run.*"}, _tagged("losda"), after, within),
        actions=[
            ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
        ],
    )


def _tagged(*tags: str) -> ResourceSpecification:
    found: Sequence[str] = [f"prefect.tag.{tag}" for tag in tags]
    return ResourceSpecification(
        {"prefect.resource.role": "tag", "prefect.resource.id": list(found)}
    )


def _notify(block: UUID | None, what: str) -> ActionTypes:
    if block is None:
        return DoNothing()
    return SendNotification(
        block_document_id=block,
        subject=f"losda: {{{{ flow_run.name }}}} {what}",
        body="{{ flow_run.name }}: {{ flow_run.state.name }} {{ flow_run.state.message or '' }}\n"
        "{{ flow_run|ui_url }}",
    )
