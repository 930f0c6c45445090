"""From trained modules to components of a registry: tensors, a card each, and an alias."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.autoencoder import Autoencoder
from models.background_error.covariance import BackgroundCovariance
from models.denoiser import LatentDenoiser
from models.methods.losda import LOSDA
from models.normalization import Statistics
from models.training.cycles import CycleSettings, World, cycled_pairs
from tasks.registry import Card, Registry
from tasks.training_bench import Bench

__all__ = ["Publisher", "cycle_scores", "judge", "reconstruction_scores"]


@dataclass
class Publisher:
    """Publishes components one after the other, each with those before it as its parents.

    Attributes:
        registry: Where to.
        alias: Name by which configurations ask for the components.
        configuration: The training's configuration.
        data: What the training data were.
        digests: Digest of each component that was given, or published so far.
    """

    registry: Registry
    alias: str
    configuration: Mapping[str, Any]
    data: Mapping[str, Any]
    digests: dict[str, str] = field(default_factory=dict)

    def publish(
        self,
        component: str,
        tensors: Mapping[str, Tensor],
        architecture: Mapping[str, Any],
        scores: Mapping[str, Any],
        parents: tuple[str, ...] = (),
        **configuration: object,
    ) -> str:
        """Publish one component under the alias and return its digest."""
        card = Card(
            component=component,
            architecture=dict(architecture),
            configuration=dict(self.configuration) | configuration,
            training=dict(self.data),
            scores=dict(scores),
            parents={parent: self.digests[parent] for parent in parents},
        )
        digest = self.registry.publish(component, tensors, card)
        self.registry.alias(component, self.alias, digest)
        self.digests[component] = digest
        return digest

    def statistics(self, bench: Bench, statistics: Statistics) -> str:
        """Publish climatology and error sizes."""
        architecture = {"spec": bench.spec.to_json(), "basis": len(statistics.coefficients)}
        return self.publish("statistics", statistics.state_dict(), architecture, {})

    def background_error(
        self, covariance: BackgroundCovariance, architecture: Mapping[str, Any]
    ) -> str:
        """Publish the covariance of 3DVar."""
        tensors = covariance.state_dict()
        return self.publish("background_error", tensors, architecture, {}, ("statistics",))

    def autoencoder(self, autoencoder: Autoencoder, scores: Mapping[str, Any]) -> str:
        """Publish the autoencoder."""
        return self.publish(
            "autoencoder",
            autoencoder.state_dict(),
            autoencoder.shape.to_dict(),
            scores,
            ("statistics",),
        )

    def denoiser(self, denoiser: LatentDenoiser, scores: Mapping[str, Any]) -> str:
        """Publish the prior; its networks are kept in half precision."""
        tensors = halved(denoiser.state_dict(), ("network.", "model_error."))
        architecture = denoiser.shape.to_dict()
        return self.publish(
            "denoiser", tensors, architecture, scores, ("statistics", "autoencoder")
        )

    def emulator(
        self,
        tensors: Mapping[str, Tensor],
        architecture: Mapping[str, Any],
        scores: Mapping[str, Any],
    ) -> str:
        """Publish the learned forecast model; its network is kept in half precision."""
        kept = halved(tensors, ("head.", "blocks.", "tail."))
        return self.publish("emulator", kept, architecture, scores, ("statistics",))


def halved(tensors: Mapping[str, Tensor], networks: tuple[str, ...]) -> dict[str, Tensor]:
    """Return tensors, those of the networks in half precision."""
    return {k: value.half() if k.startswith(networks) else value for k, value in tensors.items()}


@torch.no_grad()
def reconstruction_scores(
    bench: Bench, autoencoder: Autoencoder, statistics: Statistics, a: Tensor
) -> dict[str, float]:
    """Return the decoded truth's squared error over the 24 h background-error variance.

    Args:
        bench: Layout of the states.
        autoencoder: The trained autoencoder.
        statistics: Error sizes.
        a: Normalized anomalies that were not trained on.

    Returns:
        The ratio for each variable, over the levels that count, and for all together.
    """
    scaled = (autoencoder.decode(autoencoder.encode(a)) - a) * statistics.weights[:, None, None]
    ratio = (scaled**2 * bench.area[:, None]).mean((0, 2, 3))
    mask = statistics.error_mask
    parts = {name: ratio[part][mask[part]] for name, part in bench.spec.slices.items()}
    scores = {name: float(value.mean()) for name, value in parts.items()}
    return scores | {"all": float(ratio[mask].mean())}


def cycle_scores(errors: list[tuple[float, float]], spin_up: int) -> dict[str, float]:
    """Return mean background and analysis errors of a cycle and their trend per 100 cycles.

    Args:
        errors: Background and analysis error of each cycle, in 24 h background-error variances.
        spin_up: Cycles left out at the start.
    """
    kept = torch.tensor(errors[spin_up:], dtype=torch.float64)
    steps = torch.arange(len(kept), dtype=torch.float64)
    centered = steps - steps.mean()
    slope = (centered @ (kept[:, 1] - kept[:, 1].mean())) / (centered @ centered)
    background, analysis = kept.mean(0).tolist()
    return {"background": background, "analysis": analysis, "trend_per_100": 100 * float(slope)}


def judge(
    world: World, method: LOSDA, fraction: float, cycles: int, streams: int
) -> list[tuple[float, float]]:
    """Run cycles on trajectories that were not trained on; return the errors of each cycle."""
    errors: list[tuple[float, float]] = []
    settings = CycleSettings(
        fractions=(fraction,), streams=streams, cycles=cycles, spin_up=cycles - 1, seed=777
    )
    cycled_pairs(world, method, settings, lambda _, groups: errors.append(groups[0]))
    return errors
