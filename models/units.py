"""Units of files → SI: an exact table, and an error for what it does not know.

A unit is looked up without regard to case, blanks and notation (``m/s``, ``m s-1``, ``m s**-1``).
Nothing is guessed: a value whose unit is unknown is not converted.

References:
    | BIPM (2019), The International System of Units, 9th edition (foot, knot: table 8 of the 8th)
    | ICAO Annex 5 (knot, foot, inch of mercury at 0 degrees Celsius: 3386.389 Pa)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KINDS", "linear_change", "to_si"]


class Unit(NamedTuple):
    """SI value = factor · value + offset."""

    kind: str
    factor: float = 1.0
    offset: float = 0.0


KINDS = {
    "temperature": "K",
    "pressure": "Pa",
    "speed": "m s-1",
    "direction": "degree",
    "length": "m",
    "fraction": "1",
    "geopotential": "m2 s-2",
    "refractivity": "1e-6",
    "angle": "rad",
}
"""The kinds of quantities and their SI unit."""

KNOT, FOOT, INCH_OF_MERCURY = 1852.0 / 3600.0, 0.3048, 3386.389
UNITS = {
    "k": Unit("temperature"),
    "kelvin": Unit("temperature"),
    "degc": Unit("temperature", 1.0, 273.15),
    "c": Unit("temperature", 1.0, 273.15),
    "celsius": Unit("temperature", 1.0, 273.15),
    "pa": Unit("pressure"),
    "pascal": Unit("pressure"),
    "pascals": Unit("pressure"),
    "hpa": Unit("pressure", 100.0),
    "mb": Unit("pressure", 100.0),
    "mbar": Unit("pressure", 100.0),
    "millibars": Unit("pressure", 100.0),
    "hectopascal": Unit("pressure", 100.0),
    "kpa": Unit("pressure", 1000.0),
    "inhg": Unit("pressure", INCH_OF_MERCURY),
    "m/s": Unit("speed"),
    "ms-1": Unit("speed"),
    "meter/sec": Unit("speed"),
    "kt": Unit("speed", KNOT),
    "knots": Unit("speed", KNOT),
    "km/h": Unit("speed", 1.0 / 3.6),
    "degree": Unit("direction"),
    "degrees": Unit("direction"),
    "degt": Unit("direction"),
    "degree_true": Unit("direction"),
    "degreestrue": Unit("direction"),
    "m": Unit("length"),
    "meter": Unit("length"),
    "meters": Unit("length"),
    "km": Unit("length", 1000.0),
    "ft": Unit("length", FOOT),
    "1": Unit("fraction"),
    "kg/kg": Unit("fraction"),
    "kgkg-1": Unit("fraction"),
    "g/kg": Unit("fraction", 1.0e-3),
    "gkg-1": Unit("fraction", 1.0e-3),
    "mg/kg": Unit("fraction", 1.0e-6),
    "%": Unit("fraction", 0.01),
    "percent": Unit("fraction", 0.01),
    "m2s-2": Unit("geopotential"),
    "m2/s2": Unit("geopotential"),
    "n": Unit("refractivity"),
    "n-units": Unit("refractivity"),
    "rad": Unit("angle"),
    "radians": Unit("angle"),
}


def to_si(values: ArrayLike, unit: str, kind: str, what: str = "values") -> NDArray[np.float64]:
    """Return values in the SI unit of their kind.

    Args:
        values: Any numbers; NaN stays NaN.
        unit: Unit as the file spells it.
        kind: One of `KINDS`, what the values must be.
        what: Name of the values, for the error.

    Raises:
        ValueError: The unit is unknown or one of another kind.
    """
    known = look_up(unit)
    if known is None or known.kind != kind:
        allowed = ", ".join(name for name, other in UNITS.items() if other.kind == kind)
        raise ValueError(f"{what}: unit {unit!r} is not one of {kind}; allowed: {allowed}")
    return np.asarray(values, np.float64) * known.factor + known.offset


def linear_change(found: str, wanted: str) -> tuple[float, float]:
    """Return a and b of wanted = a · found + b, for two units of one kind.

    Raises:
        ValueError: A unit is unknown, or the kinds differ.
    """
    first, second = look_up(found), look_up(wanted)
    if first is None or second is None or first.kind != second.kind:
        raise ValueError(f"no change from {found!r} to {wanted!r} is known")
    return first.factor / second.factor, (first.offset - second.offset) / second.factor


def look_up(unit: str) -> Unit | None:
    """Return a unit that is known, however it is spelled."""
    return UNITS.get("".join(unit.lower().split()).replace("**", "").replace("^", ""))
