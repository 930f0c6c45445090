"""The settings under which a configuration of data is rehearsed: its shape, a few dozen times.

The periods follow one another in the synthetic archive:

    training | validation | 48 h first guess, cycles, what is verified
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from configs.schema import Config

__all__ = ["Rehearsal", "rehearsal_of"]

BEGIN = datetime(2005, 1, 1)
TRAINING, VALIDATION, CYCLES = 24, 20, 3
#: Enough of each network that all of its parts are there.
REDUCED: Mapping[str, object] = {
    "train.emulator.hidden": 16,
    "train.emulator.blocks": 1,
    "train.autoencoder.hidden": 32,
    "train.autoencoder.blocks": 1,
    "train.model_error.hidden": 16,
    "train.model_error.blocks": 1,
    "train.denoiser.hidden": 64,
    "train.denoiser.depth": 2,
    "train.denoiser.heads": 4,
    "train.denoiser.deep": 64,
    "train.background_error.truncation": 31,
}
#: Every step of the training, none of them long.
SHORT: Mapping[str, object] = {
    "train.emulator.iterations": 4,
    "train.emulator.batch": 2,
    "train.autoencoder.iterations": 4,
    "train.autoencoder.batch": 2,
    "train.model_error.forecasts": 1,
    "train.model_error.iterations": 4,
    "train.model_error.batch": 4,
    "train.denoiser.iterations": 4,
    "train.denoiser.batch": 4,
    "train.denoiser.generations": 1,
    "train.denoiser.gaussian": 1,
    "train.denoiser.cycles": 4,
    "train.denoiser.streams": 1,
    "train.denoiser.fractions": [0.05],
    "train.denoiser.forecasts": 1,
    "train.background_error.forecasts": 1,
    "train.background_error.generations": 0,
    "train.error_forecasts": 1,
    "train.in_memory": 0,
    "train.judged_cycles": 10,
    "observations.network.fraction": 0.05,
    "verification.forecast_lead": "P1D",
}


@dataclass(frozen=True)
class Rehearsal:
    """What is rehearsed.

    Attributes:
        times: Times of the synthetic archive.
        settings: Settings, by dotted key, besides the addresses.
    """

    times: tuple[datetime, ...]
    settings: dict[str, object]


def rehearsal_of(config: Config, reduced: bool) -> Rehearsal:
    """Return the times and settings of a rehearsal.

    Args:
        config: The configuration.
        reduced: Whether the networks are reduced, for a CPU.

    Raises:
        ValueError: The configuration has no Zarr archive.
    """
    if config.reference.kind != "zarr":
        raise ValueError(f"reference.kind: {config.reference.kind!r}; a rehearsal needs 'zarr'")
    lead = max(1, round(config.first_guess.lead / config.step))
    ahead = max(1, round(timedelta(days=1) / config.step))
    count = TRAINING + VALIDATION + lead + CYCLES + ahead
    times = tuple(BEGIN + k * config.step for k in range(count))
    last, second = times[TRAINING - 1], times[TRAINING]
    periods = {
        "train.period": {"start": times[0].isoformat(), "end": last.isoformat()},
        "train.validation": {
            "start": second.isoformat(),
            "end": times[TRAINING + VALIDATION - 1].isoformat(),
        },
        "start": times[TRAINING + VALIDATION + lead].isoformat(),
        "cycles": CYCLES,
        "spin_up": 1,
        "reference.coarsen": 1,
    }
    return Rehearsal(times, {**SHORT, **(REDUCED if reduced else {}), **periods})
