from dataclasses import replace

import numpy as np
import pytest
import torch

from models.foreign.channels import channel, channels_of
from models.foreign.layouts import LAYOUTS, regular_axes
from models.foreign.mapping import StateMap
from models.grid import LatLonGrid
from models.state import StateSpec, Variable, embedded_spec

PANGU = LAYOUTS["pangu"].channels
AXES = regular_axes(8, 16)


def states(spec: StateSpec, count: int = 2) -> torch.Tensor:
    return torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_are_the_fields_of_their_names_north_first(
    era5_spec: StateSpec, layout: str
) -> None:
    names, x = LAYOUTS[layout].channels, states(era5_spec)
    c = StateMap.between(era5_spec, names, *AXES).to_channels(x)
    for name, variable, level in (("z500", "z", 500), ("q50", "q", 50), ("u10m", "u10", None)):
        own = x[:, era5_spec.index(variable, level)].flip(1)
        assert torch.equal(c[:, names.index(name)], own), name


@pytest.mark.parametrize("shift", [0.0, -180.0])
def test_the_way_back_is_exact(era5_spec: StateSpec, shift: float) -> None:
    longitude = tuple(value + shift for value in era5_spec.grid.longitude)
    spec = replace(era5_spec, grid=LatLonGrid(era5_spec.grid.latitude, longitude))
    mapping, x = StateMap.between(spec, PANGU, *AXES), states(spec)
    c = mapping.to_channels(x)
    assert torch.equal(mapping.to_states(c), x)
    column = spec.grid.longitude.index(22.5)
    assert torch.equal(c[:, PANGU.index("msl"), :, 1], x[:, spec.index("msl"), :, column].flip(1))


def test_known_units_are_changed_and_others_refused(era5_spec: StateSpec) -> None:
    units = {"msl": "hPa", "t": "degC", "t2m": "degC"}
    mapping, x = StateMap.between(era5_spec, PANGU, *AXES, units), states(era5_spec)
    c = mapping.to_channels(x)
    msl, t = (x[:, era5_spec.index(*f)].flip(1) for f in (("msl",), ("t", 850)))
    assert torch.allclose(c[:, PANGU.index("msl")], msl / 100)
    assert torch.allclose(c[:, PANGU.index("t850")], t - 273.15)
    assert torch.allclose(mapping.to_states(c), x, atol=1e-4)
    line = r"variable 'z' has 'm2 s-2'; .* channel 'z1000' has 'm', and no change"
    with pytest.raises(ValueError, match=line):
        StateMap.between(era5_spec, PANGU, *AXES, {"z": "m"})


def changed(spec: StateSpec, name: str, **changes: object) -> StateSpec:
    variables = [replace(v, **changes) if v.name == name else v for v in spec.variables]  # type: ignore[arg-type]
    return replace(spec, variables=tuple(variables))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, variables=s.variables[:-1]), ["lacks 1 of", "69 channels", "'msl'"]),
        (lambda s: changed(s, "q", levels=(500.0, 850.0)), ["lacks 11", "'q1000'"]),
        (
            lambda s: replace(s, variables=(*s.variables, Variable("sst", "x", "K"))),
            ["the forecast model lacks 1 of the state's 70 fields", "'sst'"],
        ),
        (
            lambda s: changed(s, "z", standard_name="geopotential_height", units="m"),
            ["'z' is geopotential_height", "'z1000' is geopotential"],
        ),
        (lambda s: replace(s, vertical="sigma"), ["on sigma levels", "'z1000'", "pressure"]),
        (
            lambda s: replace(s, grid=LatLonGrid.gaussian(8, 16)),
            ["latitude of the state is", "(8 values)", "the forecast model has 90 to -90"],
        ),
        (
            lambda s: replace(
                s, grid=LatLonGrid(s.grid.latitude, tuple(np.arange(16.0).tolist()))
            ),
            ["longitude of the state is 0 to 15 (16 values); the forecast model has 0 to 337.5"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    era5_spec: StateSpec, change: object, words: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        StateMap.between(change(era5_spec), PANGU, *AXES)  # type: ignore[operator]
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_the_embedded_world_has_channels_too() -> None:
    spec = embedded_spec()
    names, x = channels_of(spec), states(spec)
    assert names == spec.field_names
    mapping = StateMap.between(spec, names, spec.grid.latitude, spec.grid.longitude)
    assert torch.equal(mapping.to_channels(x), x)


def test_names_of_levels_and_of_the_surface_are_told_apart() -> None:
    assert channel("u10m").level is None
    assert channel("u100").level == 100.0 and channel("u100").vertical == "pressure"
    assert channel("t@0.51").level == 0.51 and channel("t@0.51").vertical == "sigma"
    with pytest.raises(ValueError, match=r"channel 'u10x' is unknown; allowed: .*z500"):
        channel("u10x")
