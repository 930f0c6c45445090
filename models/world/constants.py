"""Physical constants [SI] of the embedded world, named once.

Values of the dry planet as in the dynamical-core tests of Held & Suarez (1994); water as in
Thatcher & Jablonowski (2016).

References:
    | Held & Suarez (1994), A proposal for the intercomparison of the dynamical cores of
      atmospheric general circulation models, doi 10.1175/1520-0477(1994)075<1825:APFTIO>2.0.CO;2
    | Thatcher & Jablonowski (2016), A moist aquaplanet variant of the Held-Suarez test for
      atmospheric model dynamical cores, doi 10.5194/gmd-9-1263-2016
"""

from dataclasses import dataclass

__all__ = [
    "DAY",
    "EARTH",
    "LATENT_HEAT",
    "REFERENCE_PRESSURE",
    "VAPOR_GAS_CONSTANT",
    "YEAR",
    "Planet",
]

DAY = 86400.0
YEAR = 365.25 * DAY
REFERENCE_PRESSURE = 1.0e5
LATENT_HEAT = 2.5e6
VAPOR_GAS_CONSTANT = 461.5


@dataclass(frozen=True)
class Planet:
    """The constants that the dry equations depend on.

    Attributes:
        radius: Radius of the sphere [m].
        rotation: Angular velocity [rad s-1].
        gravity: Acceleration of gravity [m s-2].
        gas_constant: Gas constant R of dry air [J kg-1 K-1].
        kappa: R / c_p [1].
    """

    radius: float = 6.37122e6
    rotation: float = 7.292e-5
    gravity: float = 9.80616
    gas_constant: float = 287.0
    kappa: float = 2 / 7

    @property
    def heat_capacity(self) -> float:
        """Specific heat of dry air at constant pressure [J kg-1 K-1]."""
        return self.gas_constant / self.kappa


EARTH = Planet()
