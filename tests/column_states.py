"""States of the embedded world whose columns are known, and observations on its grid points."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from models.observations.comparable import unobservable
from models.observations.equivalents import DRY_AIR, GRAVITY, LAPSE, POWER
from models.observations.mixed import build_operator
from models.observations.terrain import terrain_of
from models.state import embedded_spec

Tables = Callable[..., pd.DataFrame]
SPEC = embedded_spec()
SIGMA = torch.tensor(SPEC.variable("t").levels, dtype=torch.float64)
ALOFT = ("t", "u", "v", "wind_speed", "q", "z", "brightness_temperature")
STATION = ("t2m", "q2m", "u10", "v10", "sp", "msl")
#: On grid points: interpolation between them is tested elsewhere.
ROWS, COLUMNS = (5, 16, 20, 27), (0, 11, 30, 50)


def ground() -> torch.Tensor:
    """Return the height of the ground, m."""
    terrain = terrain_of(SPEC)
    assert terrain is not None
    return torch.from_numpy(terrain.height)


def observed(
    make: Tables, variable: str, pressure: object = np.nan, elev: object = np.nan
) -> pd.DataFrame:
    """Return one observation at each grid point of ROWS and COLUMNS."""
    nothing = np.full(len(ROWS), np.nan)
    return make(
        len(ROWS),
        lat=[SPEC.grid.latitude[i] for i in ROWS],
        lon=[SPEC.grid.longitude[j] for j in COLUMNS],
        variable=variable,
        level=nothing,
        pres=np.broadcast_to(np.asarray(pressure, np.float64), len(ROWS)),
        elev=np.broadcast_to(np.asarray(elev, np.float64), len(ROWS)),
    )


def state(**fields: torch.Tensor) -> torch.Tensor:
    """Return air of 280 K and 1000 hPa at rest, but for the fields that are given."""
    x = torch.zeros(1, *SPEC.shape, dtype=torch.float64)
    x[:, SPEC.slices["sp"]] = 1e5
    x[:, SPEC.slices["t"]] = 280.0
    for name, values in fields.items():
        x[0, SPEC.slices[name]] = values
    return x


def isothermal(temperature: float) -> torch.Tensor:
    """A dry isothermal atmosphere of 101325 Pa at sea level."""
    scale = DRY_AIR * temperature / GRAVITY
    sp = 101_325.0 * torch.exp(-ground() / scale)
    return state(sp=sp, t=torch.full((8, 1, 1), temperature, dtype=torch.float64))


def lapsing(at_sea: float) -> torch.Tensor:
    """A dry atmosphere with the lapse rate Γ, of 101325 Pa at sea level."""
    sp = 101_325.0 * (1 - LAPSE * ground() / at_sea) ** (1 / POWER)
    t = (at_sea - LAPSE * ground()) * SIGMA[:, None, None] ** POWER
    return state(sp=sp, t=t)


def lonely(make: Tables, variable: str, x: torch.Tensor, **places: object) -> torch.Tensor:
    """Return what an operator of these observations alone makes of a state."""
    return build_operator(observed(make, variable, **places), SPEC)(x)[0]  # type: ignore[arg-type]


def heights() -> torch.Tensor:
    """Return the height of the ground under the observations, m."""
    return ground()[list(ROWS), list(COLUMNS)]


def random_table(
    make: Tables, count: int = 60, seed: int = 0, names: tuple[str, ...] = (*ALOFT, *STATION)
) -> pd.DataFrame:
    """Return observations of each variable anywhere, as far as they can be compared."""
    random = np.random.default_rng(seed)
    parts = []
    for name in names:
        nothing = np.full(count, np.nan)
        parts.append(
            make(
                count,
                lat=np.degrees(np.arcsin(random.uniform(-1, 1, count))),
                lon=random.uniform(0, 360, count),
                variable=name,
                level=nothing,
                pres=random.uniform(4e3, 6e4, count) if name in ALOFT else nothing,
                elev=random.uniform(-100, 600, count) if name in STATION else nothing,
                station=[f"{name}{i}" for i in range(count)],
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table[unobservable(table, SPEC) == ""].reset_index(drop=True)


def weather(seed: int = 0) -> torch.Tensor:
    """Return a moist state with noise in all fields."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, *SPEC.shape, generator=g, dtype=torch.float64)
    x = lapsing(288.0)
    scale = torch.zeros(SPEC.n_fields, dtype=torch.float64)
    for name, size in {"u": 10.0, "v": 10.0, "t": 3.0, "q": 5e-4, "sp": 500.0}.items():
        scale[SPEC.slices[name]] = size
    x[:, SPEC.slices["q"]] += 2e-3
    return x + scale[:, None, None] * noise
