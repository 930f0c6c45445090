"""Random components of a tiny experiment: statistics of its truth, a linear autoencoder, a prior."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.grid import LatLonGrid
from models.normalization import Statistics
from tasks.registry import Card, Registry


def publish_components(
    registry: Registry,
    x: NDArray[np.float32],
    times: pd.DatetimeIndex,
    grid: LatLonGrid,
    alias: str = "tiny",
) -> None:
    """Publish what LO-SDA needs, fitted to states of shape (time, field, lat, lon)."""
    fields = x.shape[1]
    coefficients = torch.zeros(5, fields, *grid.shape)
    coefficients[0] = torch.from_numpy(x.mean(0))
    std = torch.from_numpy(x.std(0)).square().mean((1, 2)).sqrt()
    error = torch.full((fields,), 0.5), torch.ones(fields).bool()
    statistics = Statistics(coefficients, std, *error)
    torch.manual_seed(0)
    edges = {"wraps": grid.wraps, "poles": grid.reaches_poles, "features": 1}
    shape = AutoencoderShape(fields, grid.shape, **edges, latent=6, hidden=8, blocks=1)
    autoencoder = Autoencoder(shape, statistics.weights, torch.zeros(1, *grid.shape))
    stamps = [pd.Timestamp(time) for time in times]
    autoencoder.initialize_linear(statistics.normalize(torch.from_numpy(x), stamps))
    prior = DenoiserShape(6, shape.latent_grid, **edges, hidden=8, deep=8, error_hidden=8)
    denoiser = LatentDenoiser(prior, torch.zeros(1, *shape.latent_grid))
    digests: dict[str, str] = {}
    for name, module, architecture in (
        ("statistics", statistics, {}),
        ("autoencoder", autoencoder, shape.to_dict()),
        ("denoiser", denoiser, prior.to_dict()),
    ):
        card = Card(component=name, architecture=architecture, parents=dict(digests))
        digests[name] = registry.publish(name, module.state_dict(), card)
        registry.alias(name, alias, digests[name])
