"""The cost function at each step of a method, for the record."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Trace", "joined"]


@dataclass
class Trace:
    """The cost function at each reverse step.

    Attributes:
        rows: Step, noise level σ, J_o before, J_b and J_o after, as far as the method knows them;
            means over the batch.
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, sigma: float, v: Tensor, before: Tensor, after: Tensor) -> None:
        """Append one step.

        Args:
            sigma: Noise level.
            v: Control variable, J_b = ½|v|².
            before: Departures over their error before the step.
            after: The same after it.
        """
        row = {"step": len(self.rows), "sigma": sigma, "J_o_before": half_square(before)}
        self.rows.append(row | {"J_b": half_square(v), "J_o": half_square(after)})

    def add_misfit(self, sigma: float, d: Tensor) -> None:
        """Append one step of a method that has no J_b.

        Args:
            sigma: Noise level.
            d: Departures over their error after the step.
        """
        self.rows.append({"step": len(self.rows), "sigma": sigma, "J_o": half_square(d)})


def half_square(d: Tensor) -> float:
    """Return ½|d|², the mean over the batch."""
    return 0.5 * float((d**2).flatten(1).sum(1).mean())


def joined(parts: Sequence[tuple[Trace, int]]) -> Trace:
    """Return the trace of a batch from those of its parts, each with its number of samples."""
    if len(parts) == 1:
        return parts[0][0]
    total = sum(count for _, count in parts)
    rows = [
        {
            name: sum(row[name] * count for row, (_, count) in zip(same, parts, strict=True))
            / total
            for name in same[0]
        }
        for same in zip(*(trace.rows for trace, _ in parts), strict=True)
    ]
    return Trace([row | {"step": number} for number, row in enumerate(rows)])
