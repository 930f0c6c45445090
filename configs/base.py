"""What all configuration models share: frozen, no unknown keys, ISO 8601 durations, UTC."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter


class Model(BaseModel):
    """Frozen configuration model; the docstring under a field is its description."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        ser_json_timedelta="iso8601",
        allow_inf_nan=False,
    )


def parse_time(value: object) -> datetime:
    """Read an ISO 8601 time as timezone-naive UTC."""
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be an ISO 8601 time such as 2005-01-01T00:00") from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def whole_hour(value: datetime) -> datetime:
    """Refuse times between the hours: cycles are named by YYYYMMDDTHH."""
    if value.minute or value.second or value.microsecond:
        raise ValueError("must be a whole hour")
    return value


def positive_hours(value: timedelta) -> timedelta:
    """Refuse durations that are not a positive whole number of hours."""
    if value <= timedelta(0) or value % timedelta(hours=1):
        raise ValueError("must be a positive whole number of hours, such as PT6H or P5D")
    return value


def require_multiple(name: str, value: timedelta, unit_name: str, unit: timedelta) -> None:
    """Refuse a duration that is not a multiple of another."""
    if value % unit:
        found, allowed = (DURATIONS.dump_python(d, mode="json") for d in (value, unit))
        raise ValueError(f"{name}: {found}; must be a multiple of {unit_name} ({allowed})")


DURATIONS = TypeAdapter(timedelta, config=ConfigDict(ser_json_timedelta="iso8601"))
Time = Annotated[datetime, BeforeValidator(parse_time), AfterValidator(whole_hour)]
Duration = Annotated[timedelta, AfterValidator(positive_hours)]
