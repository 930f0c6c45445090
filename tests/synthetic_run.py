"""What a run leaves of synthetic states, written without a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from models.observations.batch import to_observations
from models.observations.networks import draw_network
from models.observations.table import background_check, screen
from models.verification.scoring import score_observations, score_state
from tasks import archive, store
from tasks.ledger import Attempt, Ledger, StageResult, open_experiment, run_stage
from tests.synthetic_states import NOW, START, STEP, Recipe, World


def make_experiment(root: str, recipe: Recipe) -> World:
    """Write what a run leaves: configuration, commits, attempts, archive, feedback, scores."""
    world = World(recipe)
    settings = {
        "name": "synthetic", "seed": 0, "start": START.isoformat(), "step": "PT6H",
        "spin_up": recipe.spin_up,
        "forecast_model": {"kind": "embedded"},
        "observations": {"network": {"kind": recipe.network.kind, "fraction": 0.1, "noise": 0.1}},
        "method": {"kind": "losda", "preset": "fast", "members": recipe.members},
    }  # fmt: skip
    components = {"autoencoder": "a1" * 32, "denoiser": "b2" * 32, "statistics": "c3" * 32}
    open_experiment(root, settings | {"components": components})
    for number in range(recipe.cycles):
        write_cycle(root, world, START + number * STEP, number)
    return world


def write_cycle(root: str, world: World, time: pd.Timestamp, number: int) -> None:
    """Write a cycle: its commits, fields, feedback and scores."""
    recipe, spec, states = world.recipe, world.spec, world.step()
    feedback = make_feedback(world, time, states)
    scores = make_scores(world, time, states, feedback)
    noise = 1 + 0.1 * world.generator.random()

    def work(stage: str) -> Callable[[Attempt], StageResult]:
        def write(attempt: Attempt) -> StageResult:
            if stage == "verification" and recipe.keep_truth:
                address = store.join(attempt.address, "truth")
                archive.write_fields(address, spec, states["truth"][None], time)
            if stage == "analysis":
                trace = make_trace(number, len(feedback)) if recipe.trace else []
                document = json.dumps({"trace": trace}).encode()
                store.write_bytes(store.join(attempt.address, "trace.json"), document)
            parts = {"read": 0.01, "model": 1.5, "write": 0.05}
            return StageResult({name: value * noise for name, value in parts.items()})

        return write

    for stage in ("forecast", "observations", "analysis", "verification"):
        run_stage(Ledger(root), time, stage, fingerprint="f", inputs={}, work=work(stage))
    for name in ("background", "analysis"):
        archive.publish(root, name, spec, START, STEP, time, states[name])
    for folder, table in (("feedback", feedback), ("scores", scores)):
        archive.write_table(store.join(root, folder, f"{time:%Y%m%dT%H}.parquet"), table)


def make_trace(number: int, count: int) -> list[dict[str, float]]:
    """Return a trace of a cost function that falls."""
    start = count * (3 + 20 / (1 + number))
    rows = [{"step": 0, "sigma": 10.0, "J_o_before": start, "J_b": count / 6, "J_o": count / 1.6}]
    return [
        *rows,
        {"step": 1, "sigma": 1.0, "J_o_before": count / 1.6, "J_b": 9.0, "J_o": count / 2},
    ]


def make_feedback(world: World, time: pd.Timestamp, states: dict[str, Tensor]) -> pd.DataFrame:
    """Return observations of the truth, two of them bad, with their departures."""
    spec = world.spec
    table = draw_network(
        world.recipe.network, spec, world.statistics.std, states["truth"], time, 0
    )
    table.loc[table.index[:2], "observation"] = [np.inf, 1e9]
    table = screen(table, spec)
    observations = to_observations(table, spec)
    used = table["used"].to_numpy(bool)
    for letter, name in (("b", "background"), ("a", "analysis")):
        column = np.full(len(table), np.nan)
        equivalent = observations.operator(states[name]).mean(0)
        column[used] = (observations.y - equivalent).double().numpy()
        table[f"o_minus_{letter}"] = column
    table["background_error"] = 5 * table["error"]
    return background_check(table, table["o_minus_b"], table["background_error"], 4.0)


def make_scores(
    world: World, time: pd.Timestamp, states: dict[str, Tensor], feedback: pd.DataFrame
) -> pd.DataFrame:
    """Return the scores of all states against the truth, and of the departures."""

    def score(x: Tensor, lead: pd.Timedelta, source: str) -> pd.DataFrame:
        truth, valid = states["truth"], time + lead
        return score_state(x, truth, world.spec, world.statistics, valid, time, lead, source)

    names = ["background", "analysis", *(["free"] if world.recipe.free else [])]
    tables = [score(states[name], NOW, name) for name in names]
    if world.recipe.forecasts and time.hour == 0:
        for day in (1, 2, 5):
            worse = world.state(world.anomaly + 0.25 * day * world.noise())[None]
            tables.append(score(worse, day * pd.Timedelta(days=1), "forecast"))
    return pd.concat([*tables, score_observations(feedback)], ignore_index=True)


def all_scores(root: str) -> pd.DataFrame:
    """Return the scores of all cycles."""
    return archive.read_tables(store.join(root, "scores"))


def copy_without(root: str, target: Path, names: set[str]) -> str:
    """Copy an experiment but for files and folders of some names; return its address."""
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(*names))
    return str(target)
