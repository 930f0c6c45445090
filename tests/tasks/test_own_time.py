"""What it is worth to compare observations with the background at their own times."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from configs import load
from tasks.benchmark_case import Case, case_rows
from tasks.benchmark_run import run_case

CASES = 6
CRITICAL = 3.36  # of Student's t with 5 degrees of freedom, 1 % in one tail


def errors(folder: Path, own: bool) -> np.ndarray:
    """Analysis errors at the cycle time, of 24 h forecasts from the truth of the packaged world."""
    settings = [
        *("start=2005-01-02", "first_guess.lead=P1D"),
        *("method.steps=1", "method.isotropic=true"),  # quick: no eigenvectors of the prior
        *("observations.slots=3", f"observations.at_own_time={own}"),
    ]
    case = Case(
        kind="uncycled",
        method=f"own-{own}",
        network="columns",
        seed=0,
        lead=timedelta(hours=24),
        every=timedelta(hours=12),
        steps=CASES,
        config=load("embedded", settings),
    )
    run_case(case, str(folder / case.name))
    rows = case_rows(case, str(folder / case.name))
    found = rows[(rows["source"] == "analysis") & (rows["metric"] == "mse")]
    assert len(found) == CASES
    return found.sort_values("cycle_time")["value"].to_numpy(float)


@pytest.mark.cycle
def test_observations_all_over_the_window_are_worth_more_at_their_own_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSDA_CACHE", str(tmp_path / "cache"))
    own, not_own = errors(tmp_path, True), errors(tmp_path, False)
    gain = not_own - own
    t = gain.mean() / (gain.std(ddof=1) / np.sqrt(CASES))
    assert t > CRITICAL
    assert gain.mean() > 0.01 * not_own.mean()
