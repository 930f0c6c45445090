"""Which BUFR elements are read, and as what; which are only counted.

References:
    | WMO-No. 306, volume I.2, tables A (categories), B (elements) and D (templates)
"""

from typing import NamedTuple

__all__ = [
    "AIRCRAFT",
    "NOTED",
    "OCCULTATION",
    "SATELLITE_WIND",
    "SEA",
    "SOUNDING",
    "SURFACE",
    "WANTED",
    "Kind",
    "described",
    "kind_of",
]

Codes = dict[str, tuple[int, ...]]


class Kind(NamedTuple):
    """How the reports of a category are read.

    Attributes:
        type: Report type.
        quantities: Elements of each quantity, the first that is there counts.
        surface: Whether they are of the surface.
        levels: Whether values may lie in replications, one level each.
    """

    type: str
    quantities: Codes
    surface: bool = False
    levels: bool = False


HUMIDITY: Codes = {"relative_humidity": (13003,), "specific_humidity": (13001,)}
WIND: Codes = {"wind_direction": (11001,), "wind_speed": (11002,), "u": (11003,), "v": (11004,)}
SURFACE = Kind(
    "synop",
    {
        "temperature": (12004, 12101, 12001),
        "dewpoint": (12006, 12103, 12003),
        "wind_direction": (11011, 11001),
        "wind_speed": (11012, 11002),
        "station_pressure": (10004,),
        "sea_level_pressure": (10051,),
        "altimeter": (10052,),
        "sea_temperature": (22043, 22042, 22049, 22045),
        **HUMIDITY,
    },
    surface=True,
)
SEA = SURFACE._replace(type="ship")
ALOFT: Codes = {
    "temperature": (12101, 12001),
    "dewpoint": (12103, 12003),
    "pressure": (7004, 10004),
    **HUMIDITY,
    **WIND,
}
SOUNDING = Kind(
    "temp",
    {
        **ALOFT,
        "geopotential": (10003,),
        "geopotential_height": (10009,),
        "height": (7009, 7007, 7002, 10007),
    },
    levels=True,
)
AIRCRAFT = Kind("aircraft", {**ALOFT, "pressure_altitude": (7010, 7002, 10070)}, levels=True)
SATELLITE_WIND = Kind("satwind", {"pressure": (7004,), **WIND})
OCCULTATION = Kind("occultation", {})

KINDS = {0: SURFACE, 1: SEA, 2: SOUNDING, 4: AIRCRAFT, 5: SATELLITE_WIND}
OCCULTATION_CODES = (7040, 15037, 15036, 33039)

PLACE_AND_TIME = (
    *(1001, 1002, 1003, 1005, 1006, 1007, 1008, 1011, 1015, 1020, 1087),
    *(1125, 1126, 1127, 1128),
    *(4001, 4002, 4003, 4004, 4005, 4006, 4016, 4086),
    *(5001, 5002, 5015, 6001, 6002, 6015, 7001, 7030, 7031, 7032, 2121, 8023),
    *OCCULTATION_CODES,
)

NOTED = {
    10009: "geopotential height of a surface station's level",
    11041: "wind gust",
    12011: "maximum temperature",
    12012: "minimum temperature",
    12063: "brightness temperature",
    12111: "maximum temperature",
    12112: "minimum temperature",
    12014: "maximum temperature",
    12016: "maximum temperature",
    12013: "ground minimum temperature",
    12015: "minimum temperature",
    12017: "minimum temperature",
    13002: "mixing ratio",
    13011: "precipitation",
    13013: "snow depth",
    13016: "precipitable water",
    13019: "precipitation",
    13020: "precipitation",
    13021: "precipitation",
    13022: "precipitation",
    13023: "precipitation",
    13095: "precipitable water",
    14031: "sunshine",
    15008: "trace gas",
    15021: "trace gas",
    15031: "path delay of ground-based GNSS",
    15035: "path delay of ground-based GNSS",
    20001: "visibility",
    20010: "cloud cover",
    20013: "cloud base",
    21062: "backscatter",
    22021: "waves",
    22070: "waves",
}
"""Elements of which only the values are counted: the table has no variable for them."""

WANTED = frozenset(
    {
        *PLACE_AND_TIME,
        *NOTED,
        *(c for kind in KINDS.values() for codes in kind.quantities.values() for c in codes),
    }
)

CATEGORIES = {
    0: "surface, land",
    1: "surface, sea",
    2: "vertical soundings",
    4: "aircraft",
    5: "satellite winds",
    3: "vertical soundings of satellites",
    6: "radar",
    7: "synoptic features",
    8: "physical or chemical constituents",
    9: "dispersal and transport",
    10: "radiological data",
    12: "surface data of satellites",
    21: "radiances of satellites",
    22: "radar of satellites",
    23: "lidar of satellites",
    24: "scatterometry of satellites",
    25: "altimetry of satellites",
    26: "spectrometry of satellites",
    30: "calibration",
    31: "oceanographic data",
    101: "image data",
}


def kind_of(category: int, has_occultation: bool) -> Kind | None:
    """Return how the reports of a category are read; None if they are not."""
    return OCCULTATION if has_occultation else KINDS.get(category)


def described(category: int) -> str:
    """Return the name of a category for people."""
    return f"category {category} ({CATEGORIES.get(category, 'of no known name')})"
