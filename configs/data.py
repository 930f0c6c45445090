"""The reference that stands for the truth: a nature run, or files of a reanalysis."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.base import Model
from configs.hiding import Location

Latitude = Annotated[float, Field(ge=-90, le=90)]


class NatureReference(Model):
    """The package's primitive-equation model at T31, integrated as far as it is needed."""

    kind: Literal["nature"] = "nature"
    segment: str = "test"
    """Name of the initial state in the component `world`."""


class DataVariable(Model):
    """One variable of the state and where its data are."""

    name: str
    """Name in the state, the archive and the scores."""
    standard_name: str
    """CF standard name."""
    units: str
    """CF units, to which the data's are converted where that is unambiguous."""
    source: str | None = None
    """Name in the data, if another."""
    file: str | None = None
    """NetCDF file under the address, if each variable has its own."""
    levels: tuple[float, ...] | None = None
    """Pressure levels [hPa] that are taken from the data; nothing for a surface variable."""
    long_name: str = ""
    """Description for plots."""
    nonnegative: bool = False
    """Clip negative values on writing."""


class Region(Model):
    """A box of latitudes and longitudes."""

    south: Latitude
    """Southern edge [degrees_north]."""
    north: Latitude
    """Northern edge [degrees_north]."""
    west: Annotated[float, Field(ge=-180, le=360)]
    """Western edge [degrees_east]."""
    east: Annotated[float, Field(ge=-180, le=360)]
    """Eastern edge [degrees_east]."""

    @model_validator(mode="after")
    def _edges_are_ordered(self) -> Self:
        if self.south >= self.north or self.west >= self.east:
            raise ValueError("south must be below north and west below east")
        return self


class _DataReference(Model):
    address: Location
    """Local path, s3:// or (Zarr) gs:// address of the data."""
    variables: Annotated[tuple[DataVariable, ...], Field(min_length=1)]
    """The state."""
    region: Region | None = None
    """Use only this box."""
    grid: tuple[int, int] | None = None
    """Rows and columns that the states must have, if known beforehand."""
    coarsen: Annotated[int, Field(ge=1, le=64)] = 1
    """Average so many rows and columns of the data's grid to one, weighted by area."""


class NetcdfReference(_DataReference):
    """NetCDF files in a folder."""

    kind: Literal["netcdf"]


class ZarrReference(_DataReference):
    """A Zarr store, for instance in the WeatherBench 2 layout."""

    kind: Literal["zarr"]


Reference = Annotated[
    NatureReference | NetcdfReference | ZarrReference, Field(discriminator="kind")
]
