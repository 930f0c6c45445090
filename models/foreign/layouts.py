"""Input and output layouts of published models, as their own inference code has them.

    pangu     two inputs, upper air (5, 13, lat, lon) and surface (4, lat, lon), without a batch;
              z q t u v from 1000 hPa up, then msl u10 v10 t2m; physical units; one model for each
              step, 24, 6, 3 and 1 h
    fengwu    one input (1, 2 × 69, lat, lon), the states 6 h before and now, normalized; u10 v10
              t2m msl, then z q u v t from 50 hPa down; the output begins with the state 6 h later
              (and goes on with that of 12 h)
    channels  one input (1, channel, lat, lon) and an output that begins with the same channels

The grid of the first two is 0.25° from 90° to −90° with both poles and from 0° to 359.75°. They
are laid out the same on a coarser grid of that kind. The FengWu of the paper has 37 levels, 189
channels; what was published has 13.

References:
    | Bi et al. (2023), Pangu-Weather, doi 10.1038/s41586-023-06185-3;
    | https://github.com/198808xc/Pangu-Weather (README.md, inference_iterative.py)
    | Chen et al. (2023), FengWu, arXiv 2304.02948; https://github.com/OpenEarthLab/FengWu
    | (README.md, inference.py); the same orders and units (geopotential in m2 s-2) in
    | https://github.com/ecmwf-lab/ai-models-panguweather and ai-models-fengwu
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LAYOUTS", "Channels", "Engine", "FengWu", "Layout", "Pangu", "regular_axes"]

GRID = (721, 1440)
LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
Shapes = Mapping[str, tuple[int | None, ...]]


class Engine(Protocol):
    """Something that runs one model."""

    @property
    def shapes(self) -> Shapes:
        """The inputs' names and shapes; None where any length will do."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the outputs by name, in the model's order."""


@dataclass(frozen=True)
class Layout:
    """What a model takes and gives; `channels` in their order.

    Attributes:
        channels: Names of the channels of one state.
        states: Number of consecutive states that are taken; the last is now.
        normalized: Whether the model is given normalized channels; None if either.
    """

    channels: tuple[str, ...]
    states: int = 1
    normalized: bool | None = None

    def inputs(
        self, c: Float[Tensor, "state channel lat lon"], names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the model's inputs by name; here all states in one tensor."""
        return {names[0]: c.flatten(0, 1)[None]}

    def output(
        self, outputs: Mapping[str, Tensor], shape: tuple[int, int]
    ) -> Float[Tensor, "channel lat lon"]:
        """Return the state one step later from the model's outputs.

        Raises:
            ValueError: The outputs are laid out in another way.
        """
        name, first = next(iter(outputs.items()))
        expected = (1, len(self.channels), *shape)
        if first.ndim != 4 or first.shape[1] < expected[1] or first.shape[2:] != shape:
            raise ValueError(
                f"output {name!r} of the forecast model has the shape {tuple(first.shape)}; "
                f"expected {expected}"
            )
        return first[0, : len(self.channels)]

    def expected(self, shape: tuple[int, int]) -> list[tuple[int, ...]]:
        """Return the shapes of the inputs on a grid, in their order."""
        return [(1, self.states * len(self.channels), *shape)]

    def check(self, shapes: Shapes) -> tuple[int, int]:
        """Return the numbers of rows and columns of a model with these inputs.

        Where they are free, they are those of the published grid.

        Raises:
            ValueError: The inputs are laid out in another way.
        """
        last = [length for shape in shapes.values() for length in shape[-2:]]
        rows, columns = (own or published for own, published in zip(last, GRID, strict=False))
        wanted = self.expected((rows, columns))
        fits = len(wanted) == len(shapes) and all(
            len(own) == len(other)
            and all(a is None or a == b for a, b in zip(own, other, strict=True))
            for own, other in zip(shapes.values(), wanted, strict=True)
        )
        if not fits:
            found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            like = " and ".join(str(list(shape)) for shape in self.expected(GRID))
            raise ValueError(f"inputs are {found}; the layout is {like}, or on another grid")
        return rows, columns


class Channels(Layout):
    """One tensor in, one out."""


class FengWu(Layout):
    """FengWu as it was published."""

    def __init__(self) -> None:
        """Use its channels."""
        levels = tuple(f"{name}{level}" for name in "zquvt" for level in LEVELS)
        super().__init__(("u10m", "v10m", "t2m", "msl", *levels), states=2, normalized=True)


class Pangu(Layout):
    """Pangu-Weather as it was published."""

    def __init__(self) -> None:
        """Use its channels."""
        levels = tuple(f"{name}{level}" for name in "zqtuv" for level in reversed(LEVELS))
        super().__init__((*levels, "msl", "u10m", "v10m", "t2m"), normalized=False)

    def inputs(
        self, c: Float[Tensor, "state channel lat lon"], names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return upper air and surface."""
        upper, surface = c[0, :65], c[0, 65:]
        return {names[0]: upper.reshape(5, 13, *upper.shape[1:]), names[1]: surface}

    def output(
        self, outputs: Mapping[str, Tensor], shape: tuple[int, int]
    ) -> Float[Tensor, "channel lat lon"]:
        """Return the state one step later from upper air and surface."""
        found = list(outputs.values())
        shapes = [tuple(output.shape) for output in found]
        if shapes != self.expected(shape):
            raise ValueError(
                f"outputs of the forecast model have the shapes {shapes}; "
                f"expected {self.expected(shape)}"
            )
        return torch.cat([found[0].flatten(0, 1), found[1]])

    def expected(self, shape: tuple[int, int]) -> list[tuple[int, ...]]:
        """Return the shapes of the inputs on a grid, in their order."""
        return [(5, 13, *shape), (4, *shape)]


LAYOUTS = {"fengwu": FengWu(), "pangu": Pangu()}
"""Layouts with channels of their own."""


def regular_axes(rows: int, columns: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return latitudes from 90° to −90°, both poles among them, and longitudes from 0° on."""
    latitude = [90.0 - 180.0 * row / (rows - 1) for row in range(rows)]
    return tuple(latitude), tuple(360.0 * column / columns for column in range(columns))
