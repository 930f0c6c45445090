"""From a configuration and a registry to the parts of a run.

Every component that is loaded is verified against its digest, and against the others that it was
trained with.
"""

import hashlib
import json

import pandas as pd

from configs import Config
from configs.data import NatureReference as NatureOptions
from configs.forecast import EmulatorForecast, ForeignForecast, PersistenceForecast
from configs.methods import Free as FreeOptions
from configs.methods import Latent, Method
from configs.methods import Letkf as LetkfOptions
from configs.methods import ThreeDVar as ThreeDVarOptions
from models.chunks import ForecastInChunks
from models.device import CPU, ForecastOnDevice, MethodOnDevice, copied_to, device_of
from models.forecast import ForecastModel, Persistence
from models.methods.base import AssimilationMethod
from models.methods.free import Free
from models.normalization import Statistics
from models.observations.networks import Network, observed_fields
from models.state import StateSpec
from tasks.components_own_forecast import check_step, embedded_forecast, emulator
from tasks.components_reference import (
    check_history,
    check_slots,
    nature_reference,
    on_grid_of,
    opened,
)
from tasks.experiment import Experiment, window_of
from tasks.observing import Observing, error_digest, files_of
from tasks.read_ahead import ReadAhead
from tasks.reference import Reference
from tasks.reference_gridded import GriddedReference
from tasks.registry import (
    ComponentNotFoundError,
    LoadedComponent,
    Registry,
    RegistryChain,
    check_parents,
    packaged_registry,
)

__all__ = ["Components", "open_registry"]


def open_registry(address: str) -> RegistryChain:
    """Return the registry at an address before the package's own, or `packaged` alone."""
    own = [] if address == "packaged" else [Registry(address)]
    return RegistryChain([*own, packaged_registry()])


def method_components(options: Method) -> list[str]:
    """Return the names of the components that a method needs, in the order of their parents."""
    if isinstance(options, FreeOptions):
        return []
    latent = ["autoencoder", "denoiser"]
    if isinstance(options, ThreeDVarOptions):
        return ["background_error", *(latent if options.corrected else [])]
    if isinstance(options, LetkfOptions):
        static = ["background_error"] if options.additive or options.static_members else []
        return static + (latent if options.corrected else [])
    return latent


class Components:
    """Loads what a configuration asks for; remembers the digests of all that was used."""

    def __init__(self, config: Config) -> None:
        """Open the registry of a configuration."""
        self.config, self.registry = config, open_registry(config.registry)
        self.loaded: dict[str, LoadedComponent] = {}
        self.digests: dict[str, str] = {}

    def load(self, name: str) -> LoadedComponent:
        """Return a component, verified, and require that it fits those loaded before."""
        if name not in self.loaded:
            component = self.registry.load(name, getattr(self.config.checkpoints, name))
            check_parents(component, self.loaded.values())
            self.loaded[name] = component
            self.digests[name] = component.digest
        return self.loaded[name]

    def needed(self) -> list[str]:
        """Return the names of the components that the configuration needs."""
        config, names = self.config, ["statistics"]
        if isinstance(config.reference, NatureOptions):
            names.append("world")
        if isinstance(config.forecast_model, EmulatorForecast):
            names.append("emulator")
        if isinstance(config.forecast_model, ForeignForecast):
            names.append("forecast_model")
        return names + method_components(config.method)

    def reference(self, root: str) -> Reference:
        """Return the truth of the experiment at `root`."""
        options = self.config.reference
        if isinstance(options, NatureOptions):
            return self._nature(options.segment, root)
        return ReadAhead(self.gridded(), pd.Timedelta(self.config.step))

    def gridded(self) -> GriddedReference:
        """Return the data, on the grid of the trained statistics where there are any.

        Raises:
            ValueError: The configuration has no data, they do not fit, or they cannot be read.
        """
        found = opened(self.config.reference)
        try:
            statistics = self.load("statistics")
        except ComponentNotFoundError:
            return found
        return on_grid_of(statistics, found)

    def checked_reference(self, experiment: Experiment) -> Reference:
        """Return the truth, with a state for every cycle and the first guess.

        Raises:
            ValueError: A state is missing or not usable.
        """
        reference, first = self.reference(experiment.root), experiment.first_guess_time
        reference.check(first, first, experiment.step)
        if isinstance(self.config.forecast_model, ForeignForecast):
            check_history(self.load("forecast_model"), reference, first, experiment.step)
        reference.check(experiment.start, experiment.cycle_times()[-1], experiment.step)
        check_slots(reference, experiment)
        if "reference" not in self.digests:
            content = json.dumps(reference.spec.to_json(), sort_keys=True).encode()
            content += reference.state(experiment.start).numpy().tobytes()
            self.digests["reference"] = hashlib.sha256(content).hexdigest()
        return reference

    def network(self, spec: StateSpec) -> Network:
        """Return what is observed of states.

        Raises:
            ValueError: A variable that is to be observed is not in the state.
        """
        network = Network(**self.config.observations.network.model_dump())
        if network.kind != "stations":
            try:
                observed_fields(network, spec)
            except ValueError as error:
                raise ValueError(f"observations.network.variables: {error}") from None
        return network

    def observing(self, spec: StateSpec) -> Observing | None:
        """Return how real observations are treated, None where they are drawn.

        Raises:
            ValueError: The error table that is named is none.
        """
        files = files_of(self.config)
        if files is None:
            return None
        found = Observing(files, spec, self.config)
        _ = found.errors, found.control  # wrong settings are found here
        if digest := error_digest(files.errors):
            self.digests["errors"] = digest
        return found

    def statistics(self, spec: StateSpec) -> Statistics:
        """Return climatology and standard deviations, which must be of the reference's states."""
        component = self.load("statistics")
        statistics = Statistics.from_tensors(component.tensors)
        found = tuple(statistics.coefficients.shape[1:])
        if found != spec.shape:
            raise ValueError(
                f"statistics {component.digest[:12]} are of states with the shape {found}, "
                f"but the reference has {spec.shape} (field, latitude, longitude)"
            )
        return statistics.eval()

    def forecast_model(self, statistics: Statistics, spec: StateSpec) -> ForecastModel:
        """Return the model of background, free run and forecasts, on the device.

        Raises:
            ValueError: A component does not fit, or there is no such device.
        """
        if isinstance(self.config.forecast_model, PersistenceForecast):
            return Persistence()
        model, chunk = self._forecast_on_device(statistics, spec), self.config.chunk
        return model if chunk is None else ForecastInChunks(model, chunk)

    def _forecast_on_device(self, statistics: Statistics, spec: StateSpec) -> ForecastModel:
        """Return the model on the device, where it is not that of others."""
        options = self.config.forecast_model
        if isinstance(options, ForeignForecast):
            return self._foreign(options, spec)
        device = device_of(self.config.device)
        model = self._forecast_model(copied_to(statistics, device), spec)
        return model if device == CPU else ForecastOnDevice(model, device)

    def _forecast_model(self, statistics: Statistics, spec: StateSpec) -> ForecastModel:
        """Return a forecast model of our own, where the statistics are."""
        if isinstance(self.config.forecast_model, EmulatorForecast):
            model = emulator(self.load("emulator"), statistics)
            check_step(self.config, model.native_step)
            return model
        return embedded_forecast(spec, statistics.std.device)

    def method(self, statistics: Statistics, spec: StateSpec) -> AssimilationMethod:
        """Return the assimilation method, on the device.

        Raises:
            ValueError: A component does not fit, or there is no such device.
        """
        options, device = self.config.method, device_of(self.config.device)
        if isinstance(options, FreeOptions):
            return Free()
        method = self._method(options, copied_to(statistics, device), spec)
        return method if device == CPU else MethodOnDevice(method, device)

    def _method(
        self,
        options: Latent | LetkfOptions | ThreeDVarOptions,
        statistics: Statistics,
        spec: StateSpec,
    ) -> AssimilationMethod:
        """Return the assimilation method, where the statistics are."""
        parts = {name: self.load(name) for name in method_components(options)}
        if isinstance(options, ThreeDVarOptions):
            from tasks.components_variational import three_d_var

            return three_d_var(options, statistics, spec, parts)
        if isinstance(options, LetkfOptions):
            from tasks.components_letkf import letkf

            return letkf(options, statistics, spec, parts)
        from tasks.components_latent import latent_method

        return latent_method(options, statistics, spec, parts, self.config.chunk)

    def _nature(self, segment: str, root: str) -> Reference:
        """Return the nature run that starts at a state of the component `world`."""
        world = self.load("world")
        found = nature_reference(world, segment, window_of(self.config).offsets, root)
        content = f"{world.digest} {segment}".encode()
        self.digests["reference"] = hashlib.sha256(content).hexdigest()
        return found

    def _foreign(self, options: ForeignForecast, spec: StateSpec) -> ForecastModel:
        """Return a forecast model of others, whose steps make up those of the configuration."""
        from tasks.components_forecast import check_leads, foreign_forecast

        model = foreign_forecast(options, self.load("forecast_model"), spec)
        check_step(self.config, model.native_step)
        leads = {"step": self.config.step} | {
            "verification.forecast_step": self.config.verification.forecast_step
        }
        check_leads(model, {name: pd.Timedelta(lead) for name, lead in leads.items()})
        return model
