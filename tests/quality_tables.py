"""Tables of good observations at one time, to spoil: for tests of the quality control."""

import numpy as np
import pandas as pd

from models.observations.quality.control import Moment
from models.observations.table import validate_table

NOON = pd.Timestamp("2020-01-01T12")
HOURS = pd.Timedelta(hours=3)
MOMENT = Moment(NOON - HOURS, NOON + HOURS, (NOON,))


def rows(count: int = 4, **columns: object) -> pd.DataFrame:
    """Return good observations; keyword arguments replace columns."""
    table: dict[str, object] = {
        "time": np.full(count, NOON.to_datetime64(), "datetime64[ns]"),
        "lat": np.linspace(0.0, 60.0, count),
        "lon": np.linspace(0.0, 120.0, count),
        "elev": np.full(count, np.nan),
        "pres": np.full(count, 5e4),
        "variable": "t",
        "observation": np.full(count, 255.0),
        "error": np.ones(count),
        "type": "temp",
        "station": [f"{i:05d}" for i in range(count)],
        "source": "bufr:x",
        "quality": np.zeros(count, np.int64),
        "level": np.full(count, np.nan),
    }
    return validate_table(pd.DataFrame(table | columns))


def everything(count: int) -> np.ndarray:
    """Return a mask of all rows."""
    return np.ones(count, bool)


def dense(count: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Return observations of aircraft all over the globe, on three levels."""
    random = np.random.default_rng(seed)
    table = rows(count, type="aircraft", station=[f"{i % 50}" for i in range(count)])
    table["lat"] = np.degrees(np.arcsin(random.uniform(-1, 1, count)))
    table["lon"] = random.uniform(0, 360, count)
    table["pres"] = random.choice([2e4, 5e4, 8e4], count)
    return table
