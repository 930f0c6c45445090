"""Models and methods on a second device (`tests.pretend_device`) compute what the processor does.

The methods run with few iterations: what is asked is where their tensors are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from torch import Tensor

import tasks.components
from configs import load
from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.device import CPU, ForecastOnDevice, MethodOnDevice, device_of
from models.methods.base import Analysis
from models.normalization import Statistics
from models.observations.batch import Observations, to_observations
from models.observations.networks import Network, draw_network
from models.observations.table import validate_table
from models.randomness import torch_generator
from models.state import StateSpec, embedded_spec
from tasks import components_latent, components_variational
from tasks.components import Components
from tasks.components_variational import covariance_of
from tasks.registry import LoadedComponent
from tests.pretend_device import DEVICE, second_device

TIME = pd.Timestamp("2005-02-10T06")
LETKF = ("method.kind=letkf", "method.members=5")
FEW = ("method.outer=1", "method.inner=2")
STEPS = "method.steps=2"
METHODS = [
    (1, "columns", (*FEW, "method.anchor_scale=1.5")),
    (2, "columns", (*FEW, "method.members=2", "method.steps=1", "method.prior_draw=0.4")),
    (1, "wind", ("method.preset=paper", STEPS, "method.outer=2")),
    (1, "columns", ("method.kind=l3dvar", "method.preset=published", "method.inner=2")),
    (1, "columns", ("method.kind=l3dvar", "method.adaptive=true", "method.inner=2")),
    (1, "columns", ("method.kind=3dvar", "method.adaptive=true", *FEW)),
    (1, "wind", ("method.kind=3dvar", "method.corrected=true", *FEW)),
    (1, "columns", ("method.kind=dps", STEPS)),
    (1, "columns", ("method.kind=mmps", STEPS, "method.iterations=2")),
    (1, "columns", ("method.kind=repaint", STEPS)),
    (5, "columns", (*LETKF, "method.coarsen=2", "method.additive=0.4", "method.adaptive=true")),
    (5, "wind", (*LETKF, "method.static_members=4", "method.corrected=true")),
]


@dataclass(frozen=True)
class Problem:
    """A truth, backgrounds and observations that are all drawn from the static covariance."""

    spec: StateSpec
    statistics: Statistics
    x_b: Tensor
    observations: dict[str, Observations]


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Five backgrounds of the embedded world."""
    spec, parts = embedded_spec(), Components(load("embedded"))
    statistics = parts.statistics(spec)
    covariance = covariance_of(parts.load("background_error"), statistics, spec)
    errors = covariance.sample([torch_generator(0, TIME, "error", k) for k in range(6)])
    truth = statistics.denormalize(2 * errors[:1], [TIME])
    x_b = truth + errors[1:] * statistics.std[:, None, None]
    networks = {
        "columns": Network(kind="columns", fraction=0.05),
        "wind": Network(kind="columns", fraction=0.05, variables=("wind_speed",)),
    }
    drawn = {
        name: draw_network(network, spec, statistics.std, truth, TIME, 0)
        for name, network in networks.items()
    }
    observed = {name: to_observations(validate_table(t), spec) for name, t in drawn.items()}
    return Problem(spec, statistics, x_b, observed)


@pytest.fixture(scope="module", autouse=True)
def shared_prior() -> Iterator[None]:
    """Load the networks once for each device: the eigenvectors of their covariances take long."""
    found: dict[torch.device, tuple[Autoencoder, LatentDenoiser]] = {}
    load_space = components_latent.latent_space

    def latent_space(
        spec: StateSpec, parts: Mapping[str, LoadedComponent], device: torch.device
    ) -> tuple[Autoencoder, LatentDenoiser]:
        if device not in found:
            found[device] = load_space(spec, parts, device)
        return found[device]

    with pytest.MonkeyPatch.context() as patch:
        for module in (components_latent, components_variational):
            patch.setattr(module, "latent_space", latent_space)
        yield


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever the configuration says, it is the second device."""
    monkeypatch.setattr(tasks.components, "device_of", lambda name: DEVICE)
    with second_device():
        yield


def analysis(problem: Problem, members: int, network: str, settings: tuple[str, ...]) -> Analysis:
    """Return the analysis where the components are."""
    method = Components(load("embedded", settings)).method(problem.statistics, problem.spec)
    assert isinstance(method, MethodOnDevice) == (tasks.components.device_of is not device_of)
    generators = [torch_generator(0, TIME, "analysis", k) for k in range(members)]
    return method(problem.x_b[:members], TIME, problem.observations[network], generators)


@pytest.mark.parametrize(("members", "network", "settings"), METHODS, ids=lambda x: str(x))
def test_an_analysis_on_another_device_is_the_same_and_comes_back(
    problem: Problem,
    members: int,
    network: str,
    settings: tuple[str, ...],
    request: pytest.FixtureRequest,
) -> None:
    here = analysis(problem, members, network, settings)
    request.getfixturevalue("there")
    found = analysis(problem, members, network, settings)
    assert found.x_a.device == CPU and type(found.x_a) is Tensor
    assert not torch.equal(found.x_a, problem.x_b[:members])
    # the sums of a backward pass may be made in another order
    difference = (found.x_a - here.x_a).abs() / problem.statistics.std[:, None, None]
    assert float(difference.max()) < 1e-4
    assert (found.background_error is None) == (here.background_error is None)
    if found.background_error is not None and here.background_error is not None:
        torch.testing.assert_close(found.background_error, here.background_error)


@pytest.mark.parametrize("kind", ["embedded", "persistence"])
def test_a_forecast_on_another_device_is_the_same_and_comes_back(
    problem: Problem, kind: str, request: pytest.FixtureRequest
) -> None:
    settings = (f"forecast_model.kind={kind}",)

    def forecast() -> Tensor:
        model = Components(load("embedded", settings)).forecast_model(
            problem.statistics, problem.spec
        )
        moved = tasks.components.device_of is not device_of and kind != "persistence"
        assert isinstance(model, ForecastOnDevice) == moved
        return model.step(problem.x_b[:2], TIME, pd.Timedelta("6h"))

    here = forecast()
    request.getfixturevalue("there")
    found = forecast()
    assert found.device == CPU and type(found) is Tensor
    torch.testing.assert_close(found, here, rtol=0, atol=0)


def test_a_mix_of_devices_is_found() -> None:
    x = torch.ones(3)
    with second_device() as device:
        assert torch.equal((x.to(device) + 1).cpu(), x + 1)
        assert torch.equal(
            torch.arange(3, device=device)[torch.tensor([2])].cpu(), torch.tensor([2])
        )
        with pytest.raises(RuntimeError, match="same device"):
            x.to(device) + x
        with pytest.raises((RuntimeError, TypeError), match=r"numpy|meta"):
            x.to(device).numpy()


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto") == torch.device("cuda:0") and device_of("cpu") == CPU
    assert device_of("cuda:1") == torch.device("cuda:1")
    with pytest.raises(
        ValueError, match=r"^device: 'cuda:2'; allowed here: auto, cpu, cuda:0, cuda:1$"
    ):
        device_of("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == CPU
    with pytest.raises(ValueError, match=r"^device: 'cuda'; allowed here: auto, cpu$"):
        device_of("cuda")


def test_the_device_does_not_make_another_experiment() -> None:
    assert load("embedded").identity() == load("embedded", ("device=cuda:3",)).identity()
