"""Runs that nobody works on hold no slot of a queue."""

import asyncio

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Crashed, Pending, Running, Scheduled

from flows import clearing
from flows.clearing import clear_runs


def test_runs_that_nobody_works_on_hold_no_slot_of_a_queue(
    pools: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "SHORT", pd.Timedelta(0))
    tomorrow = Scheduled(scheduled_time=pd.Timestamp.now("UTC") + pd.Timedelta("1D"))
    kinds = {"drive/cpu": Pending(), "verify/cpu": Running(), "cycle/gpu": tomorrow}

    async def clear() -> tuple[int, dict[str, str]]:
        async with get_client() as client:
            made = {}
            for name, state in kinds.items():
                deployment = await client.read_deployment_by_name(name)
                for about in ("/e", "/e: ordered", "/another"):
                    place, _, key = about.partition(": ")
                    parameters = {"experiment": place}
                    if name != "drive/cpu":
                        parameters["cycle"] = "20010103T00"
                    run = await client.create_flow_run_from_deployment(
                        deployment.id, parameters=parameters, idempotency_key=key or None
                    )
                    await client.set_flow_run_state(run.id, state, force=True)
                    made[f"{name} {about}"] = run.id
            me = made["drive/cpu /e: ordered"]
            count = await clear_runs(client, "/e", me, ["ordered"])
            states = {n: (await client.read_flow_run(i)).state_name for n, i in made.items()}
            for run in made.values():  # no worker of another test takes them
                await client.set_flow_run_state(run, Crashed(), force=True)
            return count, states

    count, states = asyncio.run(clear())
    assert count == 3
    for name, state in kinds.items():
        left = {states[f"{name} /e: ordered"], states[f"{name} /another"]}
        assert left == {state.name}
    ended = [states[f"{name} /e"] for name in kinds]
    assert ended == ["Crashed", "Crashed", "Cancelled"]
