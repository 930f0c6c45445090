"""The loss curves of a training: numbers for the cards, and one picture.

A curve of thousands of iterations is told by the means of equal parts of it. Where a training was
evaluated on data that it did not see, these losses are told with it, and the iteration of the
smallest, whose weights are kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors import safe_open

from tasks.report_style import STYLE
from tasks.training_bench import CURVE, VALIDATION_CURVE

__all__ = ["LossCurve", "draw_curves", "loss_curves", "loss_summaries"]

BIN, PARTS, SIZE = 10, 20, (3.6, 2.6)
LEARNED, JUDGED = "#0072B2", "#D55E00"


@dataclass(frozen=True)
class LossCurve:
    """How the loss of one network fell.

    Attributes:
        training: Loss of each iteration.
        validation: Iteration and loss of each evaluation, if there were any.
    """

    training: NDArray[np.float64]
    validation: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """Return the curve for a card: means of equal parts, evaluations, the best of them."""
        parts = np.array_split(self.training, min(PARTS, len(self.training)))
        told: dict[str, Any] = {
            "iterations": len(self.training),
            "training": [float(part.mean()) for part in parts],
        }
        if len(self.validation):
            best = self.validation[self.validation[:, 1].argmin()]
            told["validation"] = [[int(i), float(loss)] for i, loss in self.validation]
            told["best_iteration"] = int(best[0])
        return told


def loss_curves(directory: str | Path) -> dict[str, LossCurve]:
    """Return how the losses of the finished products that were trained fell, in their order."""
    curves = {}
    for path in sorted(Path(directory).glob("*.safetensors"), key=lambda p: p.stat().st_mtime_ns):
        if not path.name.endswith(".partial.safetensors"):
            with safe_open(path, "pt") as product:
                there = set(product.keys())
                found = [
                    product.get_tensor(name).double().numpy()
                    if name in there
                    else np.zeros((0, 2))
                    for name in (CURVE, VALIDATION_CURVE)
                ]
            if CURVE in there and len(found[0]):
                curves[path.stem] = LossCurve(*found)
    return curves


def loss_summaries(directory: str | Path) -> dict[str, dict[str, Any]]:
    """Return the summary of each loss curve of a training."""
    return {name: curve.summary() for name, curve in loss_curves(directory).items()}


def draw_curves(directory: str | Path) -> Path | None:
    """Draw `curves.png` in the directory of a training and return its path; None without curves."""
    curves = loss_curves(directory)
    if not curves:
        return None
    path = Path(directory) / "curves.png"
    with matplotlib.rc_context(STYLE):
        width, height = SIZE
        figure = Figure((width * len(curves), height), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, curves.items(), strict=True):
            draw(axes, curve)
            axes.set(title=name, xlabel="iteration", ylabel="loss", yscale="log")
        figure.savefig(path, dpi=110)
    return path


def draw(axes: Axes, curve: LossCurve) -> None:
    """Draw mean and range of ten iterations each, and the evaluations."""
    count = max(1, len(curve.training) // BIN)
    bins = [part for part in np.array_split(curve.training, count) if len(part)]
    steps = np.cumsum([len(part) for part in bins])
    axes.fill_between(
        steps, [b.min() for b in bins], [b.max() for b in bins], color=LEARNED, alpha=0.2
    )
    axes.plot(steps, [b.mean() for b in bins], color=LEARNED)
    if len(curve.validation):
        axes.plot(*curve.validation.T, ".", color=JUDGED)
