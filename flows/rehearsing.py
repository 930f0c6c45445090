"""The command `losda rehearse`: a configuration of data, tried on a synthetic archive."""

import sys
import time

from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["rehearse"]


@reported
def rehearse(
    config: str,
    /,
    *,
    out: str | None = None,
    at: str | None = None,
    full: bool = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Try a configuration on a synthetic archive of its shape: check, train, run, report.

    Args:
        config: Name of a preset, or path of a YAML file, whose reference is a Zarr archive.
        out: Local folder for what the training keeps; default rehearsals/NAME.
        at: Address for archive, registry and experiment, such as s3://BUCKET/NAME; by default an
            S3 server is started for the time of the rehearsal.
        full: Keep the full size of the networks, for a GPU or patience.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.rehearsal import print_rehearsal, rehearse_config

    def show(text: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    with standard_output(as_json):
        folder = absolute(out or f"rehearsals/{config}")
        where = None if at is None else absolute(at)
        document = rehearse_config(config, folder, where, full, overrides or [], show)
    print_json(document) if as_json else print_rehearsal(document)
