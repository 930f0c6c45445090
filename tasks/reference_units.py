"""Units of gridded data: the factor and offset that give the units that a configuration asks for.

Converted is what has one meaning: another spelling, another unit of the same kind (degrees Celsius,
hPa, knots, g/kg), and a geopotential height, which is the geopotential over the standard gravity.
The result is checked against what an atmosphere can be, so a unit that lies is found as well.
"""

from models.state import same_units
from models.units import KINDS, to_si

__all__ = ["conversion"]

GRAVITY = 9.80665
RATIOS = {
    "kg/kg": 1.0,
    "kgkg-1": 1.0,
    "1": 1.0,
    "dimensionless": 1.0,
    "g/kg": 1e-3,
    "gkg-1": 1e-3,
    "g/g": 1.0,
    "gg-1": 1.0,
}
HEIGHTS = {"gpm": 1.0, "dam": 10.0, "gpdam": 10.0, "km": 1000.0}


def conversion(found: str, wanted: str, standard_name: str) -> tuple[float, float] | None:
    """Return (factor, offset) from the units of data to those wanted, or None if they do not fit.

    Args:
        found: Units of the data.
        wanted: Units of the state, SI.
        standard_name: CF standard name of the quantity.
    """
    if same_units(found, wanted):
        return 1.0, 0.0
    plain = "".join(found.lower().split()).replace("**", "").replace("^", "")
    if same_units(wanted, "kg kg-1"):
        return (RATIOS[plain], 0.0) if plain in RATIOS else None
    if standard_name == "geopotential":
        factor = HEIGHTS.get(plain) or _linear(found, "length")
        factor = factor[0] if isinstance(factor, tuple) else factor
        return None if factor is None else (GRAVITY * factor, 0.0)
    kinds = [kind for kind, unit in KINDS.items() if same_units(unit, wanted)]
    return _linear(found, kinds[0]) if kinds else None


def _linear(found: str, kind: str) -> tuple[float, float] | None:
    """Return factor and offset to the SI unit of a kind."""
    try:
        zero, one = to_si([0.0, 1.0], found, kind).tolist()
    except ValueError:
        return None
    return one - zero, zero
