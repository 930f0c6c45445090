import json
import math
from collections.abc import Sequence

import pandas as pd
import pytest

from tasks.overlaps import in_words, verdicts

TIMES = pd.date_range("2001-01-01", periods=8, freq="6h")


def table(ratios: dict[str, Sequence[float]], error: float = 0.5) -> pd.DataFrame:
    rows = [
        ("s02", time, number, name, ratio * (0.5 if math.isnan(error) else error), error)
        for name, values in ratios.items()
        for number, (time, ratio) in enumerate(zip(TIMES, values, strict=False), 1)
    ]
    names = ["stream", "cycle_time", "cycle", "variable", "difference", "error"]
    return pd.DataFrame(rows, columns=names)


def test_a_spin_up_is_long_enough_if_every_variable_has_come_down() -> None:
    down, up = [4.0, 1.0, 0.25, 0.09], [4.0, 2.0, 1.0, 0.5]
    (good,) = verdicts(table({"t": down, "q": down, "all": down}))
    assert good["long_enough"] is True and good["spin_up"] == 4
    assert good["variables"]["t"]["ratio"] == pytest.approx(0.09)
    (bad,) = verdicts(table({"t": down, "q": up, "all": down}))
    assert bad["long_enough"] is False and bad["worst"] == "q"
    assert "TOO SHORT" in in_words([bad])[0] and "in q" in in_words([bad])[0]
    json.dumps(verdicts(table({"t": down, "all": up})), allow_nan=False)


def test_the_length_that_would_do_follows_from_the_rate_of_the_last_cycles() -> None:
    halving = [2.0**-k for k in range(3)]  # 0.25 at cycle 3; 0.125 at 4, 0.0625 at 5
    assert verdicts(table({"t": halving, "all": halving}))[0]["would_do"] == 5
    assert verdicts(table({"t": [1.0, 1.0, 1.0], "all": [1.0] * 3}))[0]["would_do"] is None
    early = [1.0, 0.05, 0.05, 0.01]
    assert verdicts(table({"t": early, "all": early}))[0]["would_do"] == 2


def test_without_a_truth_nothing_is_claimed() -> None:
    (one,) = verdicts(table({"t": [1.0, 0.1], "all": [1.0, 0.1]}, error=math.nan))
    assert one["long_enough"] is None and one["variables"]["t"]["ratio"] is None
    assert "cannot be told" in in_words([one])[0]
    assert verdicts(table({})) == []
