"""Events: what was committed, and that observations arrived.

    losda.analysis.committed        a cycle's analysis counts from now on
    losda.observations.committed    its observations
    losda.observations.arrived      somebody has new data for an experiment (`losda wake`)

Each commit is announced by the process that created it, after it did, under an id that is derived
from the commit, so that Prefect has it once. Whoever listens must not rely on it: a process can die
in between, and the server can be away. That never fails a cycle.
"""

import logging
import uuid
from collections.abc import Mapping

from prefect.events import emit_event

from tasks import store
from tasks.driver import driver_of
from tasks.experiment import cycle_name
from tasks.ledger import Commit

__all__ = ["ANALYSIS", "ARRIVED", "OBSERVATIONS", "announce", "announce_arrival", "resource_id"]

ANALYSIS = "losda.analysis.committed"
OBSERVATIONS = "losda.observations.committed"
ARRIVED = "losda.observations.arrived"
COMMITTED = {"analysis": ANALYSIS, "observations": OBSERVATIONS}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "commits.losda")

logger = logging.getLogger(__name__)


def announce(root: str, commit: Commit) -> None:
    """Tell Prefect of a new commit of observations or of an analysis; other stages are silent."""
    if commit.stage not in COMMITTED:
        return
    cycle = cycle_name(commit.cycle_time)
    payload = {
        "experiment": root,
        "cycle": cycle,
        "attempt": commit.attempt,
        "address": commit.address,
        "fingerprint": commit.fingerprint,
        "summary": dict(commit.summary),
    }
    identifier = uuid.uuid5(NAMESPACE, f"{root}/{cycle}/{commit.stage}/{commit.attempt}")
    try:
        _emit(COMMITTED[commit.stage], root, driver_of(root) is not None, payload, identifier)
    except Exception as error:  # noqa: BLE001 - whatever it is, the commit stands
        logger.warning("event=lost commit=%s error=%s", commit.name, type(error).__name__)


def announce_arrival(root: str) -> None:
    """Tell Prefect that there are new observations for an experiment."""
    _emit(ARRIVED, root, False, {"experiment": root}, uuid.uuid4())


def resource_id(root: str) -> str:
    """Return what Prefect calls an experiment; it may hold no character of a pattern."""
    return f"losda.experiment.{store.digest(root.encode())[:16]}"


def _emit(
    event: str, root: str, driven: bool, payload: Mapping[str, object], identifier: uuid.UUID
) -> None:
    resource = {
        "prefect.resource.id": resource_id(root),
        "prefect.resource.name": root.rstrip("/").rsplit("/", 1)[-1],
        "losda.experiment": root,
        "losda.driven": "yes" if driven else "no",
    }
    emit_event(event, resource, payload=dict(payload), id=identifier)
