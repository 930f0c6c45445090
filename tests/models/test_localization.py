import math

import numpy as np
import pytest
import torch

from models.localization import (
    LocalizationTarget,
    ObservationLocalization,
    great_circle_distance,
    localization_targets,
)
from models.observations.positions import ObservationPositions, unit_vectors
from models.state import embedded_spec
from models.world.constants import EARTH

SPEC = embedded_spec()
ALL = [True] * SPEC.n_fields


def vectors(latitude: list[float], longitude: list[float]) -> torch.Tensor:
    return unit_vectors(*(torch.tensor(v, dtype=torch.float64) for v in (latitude, longitude)))


def names(target: LocalizationTarget) -> list[str]:
    return [SPEC.field_names[i] for i in target.fields]


def test_distances_follow_the_great_circle() -> None:
    a = vectors([0.0, 85.0, 10.0, 0.0], [0.0, 20.0, 359.0, 0.0])
    b = vectors([90.0, 85.0, 10.0, 0.0], [123.0, 200.0, 1.0, 180.0])
    distance = great_circle_distance(a, b).diagonal() * 1000 / EARTH.radius
    along = 2 * math.asin(math.cos(math.radians(10)) * math.sin(math.radians(1)))
    expected = torch.tensor([math.pi / 2, math.radians(10), along, math.pi]).double()
    torch.testing.assert_close(distance, expected, rtol=1e-6, atol=1e-7)


def test_a_millionth_of_a_radian_is_not_lost() -> None:
    a, b = vectors([40.0], [0.0]), vectors([40.0 + math.degrees(1e-6)], [0.0])
    assert float(great_circle_distance(a, b)) == pytest.approx(EARTH.radius * 1e-9, rel=1e-6)


def test_a_taper_is_one_at_home_and_nothing_beyond_twice_its_half_width() -> None:
    localization = ObservationLocalization(smallest=0.01)
    weight = localization.taper(torch.linspace(0, 3000, 301, dtype=torch.float64), 1000.0)
    assert weight[0] == 1 and (weight[200:] == 0).all() and (weight.diff() <= 0).all()
    assert weight[100] == pytest.approx(5 / 24)
    assert weight[weight > 0].min() >= 0.01
    assert (localization.taper(torch.tensor([0.0, 2e4]), math.inf) == 1).all()


def test_by_default_a_level_shares_its_weights_and_the_surface_those_of_the_lowest() -> None:
    targets = localization_targets(SPEC, ObservationLocalization(), ALL)
    assert len(targets) == 8
    assert names(targets[0]) == ["u@0.025", "v@0.025", "t@0.025", "q@0.025"]
    assert names(targets[-1]) == ["u@0.95", "v@0.95", "t@0.95", "q@0.95", "sp"]
    assert targets[-1].level == pytest.approx(math.log(0.95))


def test_without_vertical_localization_all_fields_share_their_weights() -> None:
    (target,) = localization_targets(SPEC, ObservationLocalization(vertical=math.inf), ALL)
    assert target.fields == tuple(range(33))


def test_variables_of_their_own_half_width_or_damping_are_targets_of_their_own() -> None:
    localization = ObservationLocalization(
        half_widths={"q": 500.0}, damping={"q": {"u": 0.0, "v": 0.0}}
    )
    targets = localization_targets(SPEC, localization, ALL)
    assert len(targets) == 24
    assert sorted(i for target in targets for i in target.fields) == list(range(33))
    humid = next(target for target in targets if "q@0.95" in names(target))
    assert names(humid) == ["q@0.95"] and humid.half_width == 500.0


def test_fields_that_do_not_count_are_in_no_target() -> None:
    counts = [not name.startswith("q@0.0") for name in SPEC.field_names]
    targets = localization_targets(SPEC, ObservationLocalization(), counts)
    found = [name for target in targets for name in names(target)]
    assert len(found) == 31 and "q@0.025" not in found


def test_weights_are_the_vertical_taper_times_the_damping() -> None:
    localization = ObservationLocalization(vertical=0.5, damping={"q": {"t": 0.3}})
    targets = localization_targets(SPEC, localization, ALL)
    (target,) = [target for target in targets if "t@0.51" in names(target)]
    fields = [SPEC.index("t", 0.51), SPEC.index("q", 0.51), SPEC.index("t", 0.2), SPEC.index("sp")]
    level = torch.tensor(np.log([0.51, 0.51, 0.2, 1.0]))
    nowhere = torch.zeros(4, dtype=torch.float64)
    positions = ObservationPositions(nowhere, nowhere, level, torch.tensor(fields))
    weight = target.weights(positions, localization)
    ratio = -math.log(0.51) / 0.5
    far = 4 - 5 * ratio + 5 / 3 * ratio**2 + 5 / 8 * ratio**3 - ratio**4 / 2 + ratio**5 / 12
    expected = torch.tensor([1.0, 0.3, 0.0, far - 2 / (3 * ratio)], dtype=torch.float64)
    torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"half_width": 0.0}, "half_width: 0"),
        ({"vertical": -1.0}, "vertical: -1"),
        ({"half_widths": {"q": math.nan}}, "q: nan"),
        ({"damping": {"q": {"u": 1.5}}}, "q on u: 1.5"),
        ({"smallest": 1.0}, "smallest weight 1"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObservationLocalization(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"half_widths": {"w": 1.0}}, {"damping": {"q": {"w": 1.0}}}])
def test_unknown_variables_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="'w': allowed are u, v, t, q, sp"):
        localization_targets(SPEC, ObservationLocalization(**settings), ALL)  # type: ignore[arg-type]
