"""Variables and fields of a state, and when units and levels are the same.

Levels are sigma [1] or pressure [hPa], as ERA5 and WeatherBench name them; a variable without
levels is at the surface or vertically integrated.
"""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Field", "Variable", "same_level", "same_units"]


class Field(NamedTuple):
    """One variable on one level; the level of a surface variable is None."""

    variable: str
    level: float | None

    @property
    def name(self) -> str:
        """Name of the field, such as `t@0.51` or `sp`."""
        return self.variable if self.level is None else f"{self.variable}@{self.level:g}"


@dataclass(frozen=True)
class Variable:
    """A physical quantity of the state.

    Attributes:
        name: Name in the code and in files.
        standard_name: CF standard name.
        units: CF units.
        levels: Sigma [1] or pressure [hPa] levels, or None for a surface variable.
        long_name: Description for plots.
        nonnegative: Whether values below zero are set to zero on writing.
    """

    name: str
    standard_name: str
    units: str
    levels: tuple[float, ...] | None = None
    long_name: str = ""
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Refuse levels that are empty or come twice."""
        if self.levels is not None and not self.levels:
            raise ValueError(f"variable {self.name!r} has an empty list of levels")
        if self.levels is not None and len(set(self.levels)) < len(self.levels):
            raise ValueError(f"variable {self.name!r} has a level twice: {list(self.levels)}")

    @property
    def attributes(self) -> dict[str, str]:
        """The CF attributes."""
        long_name = self.long_name or self.standard_name.replace("_", " ")
        names = {"standard_name": self.standard_name, "long_name": long_name}
        return names | {"units": self.units}


def same_units(found: str, allowed: str) -> bool:
    """Tell whether two units are spelled alike up to notation, as `m s**-1` and `m/s`."""
    powers = unit_powers(found)
    return powers is not None and powers == unit_powers(allowed)


def unit_powers(units: str) -> dict[str, int] | None:
    """Return the power of each base unit, or None if the text is not understood."""
    powers: dict[str, int] = {}
    for sign, part in zip((1, -1), units.strip().split("/", 1), strict=False):
        for token in part.replace("**", "^").replace("*", " ").replace(".", " ").split():
            base = token.rstrip("0123456789-+^")
            power = token[len(base) :].lstrip("^") or "1"
            if token == "1":
                continue
            try:
                powers[base] = powers.get(base, 0) + sign * int(power)
            except ValueError:
                return None
    return {base: power for base, power in powers.items() if power} if units.strip() else None


def same_level(a: float, b: float) -> bool:
    """Tell whether two levels are equal up to single precision."""
    return bool(abs(a - b) <= 1e-5 * max(abs(a), abs(b)))
