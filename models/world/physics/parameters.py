"""The parameters of the idealized physics, with the values of the nature run as defaults."""

from dataclasses import dataclass

__all__ = ["PhysicsParameters"]


@dataclass(frozen=True)
class PhysicsParameters:
    """Everything that can be wrong in a forecast model.

    Attributes:
        equator_temperature: Radiative-equilibrium temperature at the equator [K].
        meridional_contrast: Its decrease towards the poles [K].
        static_stability: Its increase per unit of -ln(p / p_0) at the equator [K].
        stratosphere_temperature: Its lower bound [K].
        relaxation_rate: Radiative relaxation in the free atmosphere [d-1].
        surface_relaxation_rate: Radiative relaxation at the tropical ground [d-1].
        boundary_layer_top: Sigma of the top of the boundary layer [1].
        friction_sea: Rayleigh friction at the ground over sea [d-1].
        friction_land: Rayleigh friction at the ground over land [d-1].
        sponge_days: Time scale of the friction in the top layer [d].
        season_sea: Seasonal amplitude of the equilibrium at the poles over sea [K].
        season_land: Seasonal amplitude of the equilibrium at the poles over land [K].
        lag_sea: Lag of the season behind the solstice over sea [d].
        lag_land: Lag of the season behind the solstice over land [d].
        sea_minimum: Lowest sea surface temperature [K].
        sea_amplitude: Equator minus pole of the sea surface temperature [K].
        sea_shift: Seasonal shift of the thermal equator [degrees].
        warm_pool: Amplitude of the zonal asymmetry of the sea surface temperature [K].
        exchange: Bulk coefficient of heat and moisture at the surface [1].
        gust: Wind speed added in quadrature in the bulk formula [m s-1].
        land_wetness: Evaporation over land relative to sea [1].
        diurnal: Amplitude of the diurnal cycle of the land surface [K].
        diffusivity: Diffusivity of moisture in the boundary layer [m2 s-1].
        condensation_time: Time scale of large-scale condensation [s].
        condensation_humidity: Relative humidity above which it acts [1].
        convection_time: Time scale of moist convection [s].
        convection_humidity: Relative humidity of the convective reference profile [1].
        dry_time: Time scale of dry adjustment [s].
    """

    equator_temperature: float = 300.0
    meridional_contrast: float = 60.0
    static_stability: float = 10.0
    stratosphere_temperature: float = 200.0
    relaxation_rate: float = 1 / 30
    surface_relaxation_rate: float = 1 / 4
    boundary_layer_top: float = 0.7
    friction_sea: float = 0.7
    friction_land: float = 1.3
    sponge_days: float = 5.0
    season_sea: float = 8.0
    season_land: float = 22.0
    lag_sea: float = 45.0
    lag_land: float = 25.0
    sea_minimum: float = 273.0
    sea_amplitude: float = 27.0
    sea_shift: float = 7.0
    warm_pool: float = 2.0
    exchange: float = 1.2e-3
    gust: float = 4.0
    land_wetness: float = 0.35
    diurnal: float = 8.0
    diffusivity: float = 8.0
    condensation_time: float = 3 * 3600.0
    condensation_humidity: float = 0.9
    convection_time: float = 4 * 3600.0
    convection_humidity: float = 0.75
    dry_time: float = 2 * 3600.0
