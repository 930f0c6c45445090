"""The part of the configuration and the components that each stage's result depends on."""

from collections.abc import Mapping
from typing import Any

from tasks.ledger import fingerprint

__all__ = ["CYCLE_STAGES", "setting", "stage_fingerprint"]

CONFIGURATION = {
    "forecast": (
        *("start", "step", "first_guess", "forecast_model"),
        *("observations.slots", "observations.at_own_time"),
    ),
    "observations": ("seed", "step", "observations"),
    "analysis": ("seed", "method", "observations"),
    "verification": ("start", "verification", "forecast_model"),
}
CHECKPOINTS = {
    "forecast": ("reference", "emulator", "forecast_model"),
    "observations": ("reference", "statistics", "errors"),
    "analysis": ("statistics", "autoencoder", "denoiser", "background_error"),
    "verification": ("reference", "statistics", "emulator", "forecast_model"),
}
CYCLE_STAGES = tuple(CONFIGURATION)


def stage_fingerprint(
    stage: str,
    identity: Mapping[str, Any],
    checkpoints: Mapping[str, str],
    code: str,
    inputs: Mapping[str, str],
) -> str:
    """Return what a commit of the stage must have been made with.

    Args:
        stage: Name of the stage.
        identity: Configuration that makes another experiment.
        checkpoints: Digests of the components and of the reference.
        code: Digest of the science code.
        inputs: Fingerprints of the commits that it depends on.
    """
    subset = {key: setting(identity, key) for key in CONFIGURATION[stage]}
    subset |= {"code": code, "members": identity["method"].get("members", 1)}
    digests = {name: checkpoints[name] for name in CHECKPOINTS[stage] if name in checkpoints}
    return fingerprint(stage, subset, digests, inputs)


def setting(identity: Mapping[str, Any], key: str) -> object:
    """Return the setting with a dotted key, or None if there is none of that name."""
    found: Any = identity
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
