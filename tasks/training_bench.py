"""What all steps of a training share: where products are kept, settings, layout, device.

A bench trains a network from where it was interrupted, by the settings of all networks and its own,
and returns how the loss fell, which is kept beside the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from configs.training import Optimized, Train
from models.state import StateSpec
from models.training.execution import Execution
from models.training.objective import Objective
from models.training.processes import Processes
from models.training.stopping import EarlyStopping, loss_over
from models.training.trainer import Trainer, TrainingSettings
from tasks.training_data import Report
from tasks.workshop import Workshop

__all__ = ["CURVE", "VALIDATION_CURVE", "Bench", "load_network"]

CPU = torch.device("cpu")
#: The loss of each iteration, and (iteration, loss) of each evaluation, beside the weights.
CURVE, VALIDATION_CURVE = "loss_curve", "validation_curve"
VALIDATION_SEED = 7919


@dataclass(frozen=True)
class Bench:
    """What all steps share.

    Attributes:
        workshop: Where products are kept.
        settings: The training's configuration.
        spec: Layout of the states.
        features: Static features on the state's grid.
        report: Shows a line of progress.
        device: Where networks are trained and cycles run.
    """

    workshop: Workshop
    settings: Train
    spec: StateSpec
    features: Tensor
    report: Report
    device: torch.device = CPU

    @property
    def area(self) -> Tensor:
        """Cell-area weights, mean 1, on the device."""
        return self.spec.grid.cell_area_weights().to(self.device)

    @property
    def processes(self) -> Processes:
        """Those that train together."""
        return self.workshop.processes

    def states_in(self, size: int, most: int) -> int:
        """Return how many states fit into so many bytes, at least 1 and at most so many."""
        fields, lat, lon = self.spec.shape
        return max(1, min(most, size // (4 * fields * lat * lon)))

    def progress(self, name: str, every: int = 50) -> Callable[[Trainer], None]:
        """Return a callback that reports the mean loss now and then."""

        def show(trainer: Trainer) -> None:
            if trainer.iteration % every == 0:
                recent = trainer.curve[-every:]
                total = trainer.settings.iterations
                loss = sum(recent) / len(recent)
                waiting = f"{trainer.waiting:.0%} of the time waiting for data"
                self.report(f"{name} {trainer.iteration}/{total} loss {loss:.4f}, {waiting}")

        return show

    def optimizer(self, options: Optimized, iterations: int, seed: int) -> TrainingSettings:
        """Return how a network is trained, by its own options and those of all."""
        computing = self.settings.computing
        return TrainingSettings(
            iterations,
            learning_rate=options.learning_rate,
            averaging=options.averaging,
            seed=self.settings.seed + seed,
            execution=Execution(computing.precision, computing.recompute, computing.compile),
            ahead=computing.ahead,
        )

    def stopping(self, objective: Callable[[], Objective]) -> EarlyStopping | None:
        """Return the early stopping by an objective on data that are not trained on, if any."""
        options = self.settings.stopping
        if not options.patience:
            return None
        seed = self.settings.seed + VALIDATION_SEED
        validate = loss_over(objective(), options.batches, seed, self.device, self.processes)
        return EarlyStopping(validate, options.evaluate_every, options.patience)

    def train(
        self,
        name: str,
        network: nn.Module,
        objective: Objective,
        settings: TrainingSettings,
        stopping: EarlyStopping | None = None,
    ) -> dict[str, Tensor]:
        """Train a network, from where it was interrupted; return its loss curves for its product.

        Args:
            name: Name of the product.
            network: What is trained.
            objective: What is minimized.
            settings: How.
            stopping: When it ends early.
        """
        trainer = Trainer(network, objective, settings, stopping, self.processes)
        self.run(name, trainer)
        curves = {CURVE: torch.tensor(trainer.curve)}
        if stopping is not None:
            curves[VALIDATION_CURVE] = torch.tensor(stopping.curve, dtype=torch.float64)
        return curves

    def run(self, name: str, trainer: Trainer) -> None:
        """Run a trainer from where it was interrupted."""
        every = self.settings.computing.save_every
        self.workshop.train(name, trainer, self.progress(name.replace("-", " ")), every)


def load_network(network: nn.Module, product: dict[str, Tensor]) -> None:
    """Load the weights of a product, which also holds how the loss fell."""
    curves = (CURVE, VALIDATION_CURVE)
    network.load_state_dict({k: v for k, v in product.items() if k not in curves})
