"""The model of background, free run and forecasts: the package's own, or another's."""

from typing import Annotated, Literal

from pydantic import Field

from configs.base import Model


class EmbeddedForecast(Model):
    """The package's primitive-equation model at T21."""

    kind: Literal["embedded"] = "embedded"


class EmulatorForecast(Model):
    """A learned forecast model from the registry (checkpoints.emulator)."""

    kind: Literal["emulator"]


class PersistenceForecast(Model):
    """Tomorrow is like today."""

    kind: Literal["persistence"]


class OnnxForecast(Model):
    """An ONNX model from the registry (checkpoints.forecast_model), such as FengWu or Pangu."""

    kind: Literal["onnx"]


class ProgramForecast(Model):
    """An exported torch program from the registry (checkpoints.forecast_model)."""

    kind: Literal["program"]
    torchscript: bool = False
    """Whether TorchScript is trusted, which may run any operator of torch."""


class Earth2Forecast(Model):
    """A prognostic model of earth2studio from the registry (checkpoints.forecast_model)."""

    kind: Literal["earth2studio"]
    modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("earth2studio.models.px",)
    """Modules from which a card may name a class, whose code then runs."""


ForeignForecast = OnnxForecast | ProgramForecast | Earth2Forecast
ForecastModel = Annotated[
    EmbeddedForecast
    | EmulatorForecast
    | PersistenceForecast
    | OnnxForecast
    | ProgramForecast
    | Earth2Forecast,
    Field(discriminator="kind"),
]
