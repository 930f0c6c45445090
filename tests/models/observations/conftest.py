from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from models.grid import LatLonGrid
from models.state import StateSpec, Variable

Tables = Callable[..., pd.DataFrame]


@pytest.fixture
def europe() -> StateSpec:
    latitude, longitude = np.arange(55, 29, -2.5).tolist(), np.arange(-15, 16, 2.5).tolist()
    variables = (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),
        Variable("z", "geopotential", "m2 s-2", (500.0,)),
        Variable("t", "air_temperature", "K", (500.0, 850.0, 300.0)),
    )
    return StateSpec(variables, LatLonGrid(tuple(latitude), tuple(longitude)), "pressure")


@pytest.fixture
def make_table() -> Tables:
    """Return a factory of valid tables; keyword arguments replace columns."""

    def make(count: int = 4, **columns: object) -> pd.DataFrame:
        nothing = np.full(count, np.nan)
        table = {
            "time": np.full(count, "2004-01-01T06", "datetime64[ns]"),
            "lat": np.linspace(30.0, 55.0, count),
            "lon": np.linspace(0.0, 15.0, count),
            "elev": nothing,
            "pres": nothing,
            "variable": "t",
            "observation": np.linspace(250.0, 280.0, count),
            "error": np.ones(count),
            "type": "test",
            "station": [f"{i:05d}" for i in range(count)],
            "source": "test",
            "quality": np.zeros(count, np.int64),
            "level": np.full(count, 850.0),
        }
        return pd.DataFrame(table | columns)

    return make
