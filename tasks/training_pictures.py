"""The loss curves of a training as one picture: mean and range of ten iterations each."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors import safe_open

from tasks.report_style import STYLE

__all__ = ["draw_curves", "loss_curves"]

CURVE, BIN, SIZE = "loss_curve", 10, (3.6, 2.6)


def loss_curves(directory: str | Path) -> dict[str, NDArray[np.float64]]:
    """Return the loss of every iteration of the finished products that were trained."""
    curves = {}
    for path in sorted(Path(directory).glob("*.safetensors"), key=lambda p: p.stat().st_mtime_ns):
        if not path.name.endswith(".partial.safetensors"):
            with safe_open(path, "pt") as product:
                if CURVE in product.keys():  # noqa: SIM118  (not a mapping)
                    curves[path.stem] = product.get_tensor(CURVE).double().numpy()
    return {name: curve for name, curve in curves.items() if len(curve)}


def draw_curves(directory: str | Path) -> Path | None:
    """Draw `curves.png` in the directory of a training and return its path; None without curves."""
    curves = loss_curves(directory)
    if not curves:
        return None
    path = Path(directory) / "curves.png"
    with matplotlib.rc_context(STYLE):
        width, height = SIZE
        figure = Figure((width * len(curves), height), layout="constrained")
        for axes, (name, curve) in zip(
            figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
        ):
            count = max(1, len(curve) // BIN)
            bins = [part for part in np.array_split(curve, count) if len(part)]
            steps = np.cumsum([len(part) for part in bins])
            axes.fill_between(
                steps, [b.min() for b in bins], [b.max() for b in bins], color="#0072B2", alpha=0.2
            )
            axes.plot(steps, [b.mean() for b in bins], color="#0072B2")
            axes.set(title=name, xlabel="iteration", ylabel="loss", yscale="log")
        figure.savefig(path, dpi=110)
    return path
