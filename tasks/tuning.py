"""Coordinate search for the settings of a method, judged in cycles of the validation period.

The settings are gone through one after the other: all values of one are tried with the best values
so far of the others. A choice is judged by the geometric mean over the networks of its mean
analysis error after the spin-up, in units of the 24 h background-error variance (or its CRPS, in
units of that error); a cycle that blows up counts as infinite.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from configs import Config, ConfigError, load
from configs.benchmark import Search
from configs.describe import describe
from tasks.benchmark_case import Case, case_rows

__all__ = ["case_error", "choose", "search_cases", "settings_name"]

Settings = Mapping[str, float | str | bool]
Evaluate = Callable[[Sequence[Settings]], list[dict[str, float]]]


def choose(search: Search, evaluate: Evaluate) -> Iterator[dict[str, Any]]:
    """Yield a row for every choice that is tried, with `best` where it is the best so far.

    Args:
        search: The space.
        evaluate: Returns the error on each network, for each of some choices.
    """
    best: dict[str, float | str | bool] = {}
    lowest, tried = math.inf, set[str]()
    for _ in range(search.passes):
        for name, values in search.space.items():
            choices = [{**best, name: value} for value in values]
            fresh = [c for c in choices if settings_name(c) not in tried]
            tried |= {settings_name(c) for c in fresh}
            for choice, errors in zip(fresh, evaluate(fresh), strict=True):
                score = geometric_mean(errors.values())
                better = score < lowest
                if better:
                    lowest, best = score, dict(choice)
                yield {"settings": dict(choice), "errors": errors, "score": score, "best": better}


def geometric_mean(values: Any) -> float:  # noqa: ANN401  (any iterable of numbers)
    """Return exp of the mean logarithm; infinite if one is not finite."""
    found = list(values)
    if not all(math.isfinite(value) for value in found):
        return math.inf
    return math.exp(sum(math.log(value) for value in found) / len(found))


def settings_name(settings: Settings) -> str:
    """Return a short name that tells choices apart."""
    text = json.dumps(dict(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def search_cases(search: Search, settings: Settings) -> list[Case]:
    """Return the cases of a choice, one for each network."""
    base = load(search.base, search.settings)
    method = search.method.model_dump(exclude_none=True) | dict(settings)
    return [
        Case(
            kind="cycled",
            method=f"{search.name}-{settings_name(settings)}",
            network=network,
            seed=search.seed,
            every=base.step,
            steps=search.cycles,
            config=with_method(base, method, options, search.seed),
        )
        for network, options in search.networks.items()
    ]


def with_method(
    base: Config, method: Mapping[str, object], network: BaseModel, seed: int
) -> Config:
    """Return a configuration with another method and network."""
    tree = base.model_dump()
    tree["method"], tree["seed"] = dict(method), seed
    tree["observations"]["network"] = network.model_dump()
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe(error, Config)) from None


def case_error(search: Search, case: Case, directory: str) -> float:
    """Return the mean analysis error after the spin-up, infinite if the case did not end."""
    rows: pd.DataFrame = case_rows(case, directory)
    if not len(rows) or rows["cycle_time"].nunique() < case.steps:
        return math.inf
    start = rows["cycle_time"].min() + search.spin_up * pd.Timedelta(case.every)
    chosen = (rows["metric"] == search.metric) & (rows["source"] == "analysis")
    return float(rows.loc[chosen & (rows["cycle_time"] >= start), "value"].mean())
