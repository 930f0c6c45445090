"""Components that a training is given: those of the registry, not made again.

World, climatology and autoencoder serve every forecast model of the same world. The statistics also
hold the 24 h error of the model they were made with: it stays the unit of errors and the weight of
fields, so that models can be compared.
"""

import torch

from configs import Config
from models.autoencoder import Autoencoder
from models.normalization import Statistics
from models.state import StateSpec
from tasks.components import Components
from tasks.components_latent import autoencoder_of

__all__ = ["given_autoencoder", "given_digests", "given_statistics"]


def given_statistics(config: Config, spec: StateSpec, device: torch.device) -> Statistics | None:
    """Return the statistics of the registry, if the training is given them.

    Raises:
        ValueError: They are of other states.
    """
    if "statistics" not in config.train.given:
        return None
    return Components(config).statistics(spec).to(device)


def given_autoencoder(config: Config, spec: StateSpec, device: torch.device) -> Autoencoder | None:
    """Return the autoencoder of the registry, if the training is given it.

    Raises:
        ValueError: It does not belong to the statistics, or is of other states.
    """
    if "autoencoder" not in config.train.given:
        return None
    components = Components(config)
    components.load("statistics")  # its parent is checked
    return autoencoder_of(components.load("autoencoder"), spec).to(device)


def given_digests(config: Config) -> dict[str, str]:
    """Return the digest of each component that the training is given."""
    components = Components(config)
    return {name: components.load(name).digest for name in config.train.given}
