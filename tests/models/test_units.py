import numpy as np
import pytest

from models.units import KINDS, UNITS, to_si


@pytest.mark.parametrize(
    ("value", "unit", "kind", "expected"),
    [
        (0.0, "degC", "temperature", 273.15),
        (10.0, "kt", "speed", 5.144444444444445),
        (36.0, "km/h", "speed", 10.0),
        (29.92, "inHg", "pressure", 101320.75888),
        (1013.25, "hPa", "pressure", 101325.0),
        (1000.0, "ft", "length", 304.8),
        (7.5, "g kg-1", "fraction", 7.5e-3),
        (16966.0, "MG/KG", "fraction", 1.6966e-2),
        (55.0, "%", "fraction", 0.55),
        (3.0, "m s**-1", "speed", 3.0),
    ],
)
def test_exact_values(value: float, unit: str, kind: str, expected: float) -> None:
    assert float(to_si(value, unit, kind)) == pytest.approx(expected, rel=1e-12)


def test_missing_stays_missing() -> None:
    assert np.isnan(to_si([np.nan], "degC", "temperature")).all()


@pytest.mark.parametrize("unit", ["furlong", "", "Pa"])
def test_a_wrong_unit_is_refused_in_one_line(unit: str) -> None:
    with pytest.raises(ValueError, match=r"tempo: unit .* is not one of temperature; allowed: k,"):
        to_si(1.0, unit, "temperature", "tempo")


def test_every_unit_is_of_a_known_kind() -> None:
    assert {unit.kind for unit in UNITS.values()} == set(KINDS)
