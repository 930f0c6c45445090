"""The commands `losda ingest | errors | crossvalidate`: observations, and what they are worth."""

import json
from typing import Annotated

from cyclopts import Parameter

from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["crossvalidate", "errors", "ingest"]

Form = Annotated[str | None, Parameter(name="--format")]
Map = Annotated[str | None, Parameter(name="--map")]
Time = Annotated[str | None, Parameter(name="--time")]


@reported
def ingest(
    *files: str,
    config: str | None = None,
    overrides: Overrides = None,
    cycle: Time = None,
    out: str | None = None,
    map_: Map = None,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """Read observation files and account for all that is in them; judge them for a configuration.

    Args:
        files: Paths, folders, patterns such as 'day/*.bufr', or s3:// prefixes.
        config: Name of a preset, or path of a YAML file, whose quality control is applied.
        overrides: Any setting of it, as key=value; may be repeated.
        cycle: Cycle whose window they must be in, YYYYMMDDTHH.
        out: Parquet file for the table of observations, local or s3://.
        map_: PNG or HTML file for a map of what is used and what is rejected.
        form: Format of all files; by default seen by their first bytes.
        as_json: Print one JSON document.
    """
    if not files:
        raise ValueError("ingest: no file is named; allowed: paths, folders, patterns, s3://…")
    given = {"--time": cycle, "--map": map_, "--set": overrides}
    if config is None and (unfit := [name for name, value in given.items() if value]):
        raise ValueError(f"{unfit[0]}: needs --config, the configuration to judge for")
    addresses = [absolute(file) for file in files]
    target, picture = (None if name is None else absolute(name) for name in (out, map_))
    if config is None:
        from flows.ingesting import ingest_files, print_ingest

        with standard_output(as_json):
            document = ingest_files(addresses, form, target)
        print_json(document) if as_json else print_ingest(document)
        return
    from configs import load
    from flows.judging import judge_files, print_judged

    settings = load(config, overrides or [])
    with standard_output(as_json):
        document = judge_files(addresses, form, settings, cycle, target, picture)
    print_json(document) if as_json else print_judged(document)


@reported
def errors(directory: str, /, *, out: str, least: int = 100, as_json: Json = False) -> None:
    """Estimate observation errors from an experiment's feedback and write them as a table.

    The table is for observations.source.errors.table of the next experiment (Desroziers et al. 2005).
    Cycles of the spin-up do not count.

    Args:
        directory: Directory or s3:// address of the experiment.
        out: CSV file of the table, local or s3://.
        least: So many values are needed for an estimate; with fewer what was assumed stays.
        as_json: Print one JSON document.
    """
    from flows.estimating import estimate_errors, print_errors

    with standard_output(as_json):
        document = estimate_errors(absolute(directory), absolute(out), least)
    print_json(document) if as_json else print_errors(document)


@reported
def crossvalidate(
    config: str,
    /,
    *,
    out: str | None = None,
    parts: int = 5,
    method: str | None = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare analyses with observations that were withheld from them, each station once.

    Runs the experiment with all observations and once without each part of the stations; goes on
    where it was killed. Cycles of the spin-up do not count.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Directory or s3:// address; default experiments/NAME-METHOD-crossvalidation.
        parts: Number of parts into which the stations are split, by their names; with many each
            station is left out alone.
        method: Assimilation method.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from configs import load

    given = [] if method is None else [f"method.kind={json.dumps(method)}"]
    given += [f"observations.withhold={{parts: {parts}}}"]
    settings = load(config, [*(overrides or []), *given])
    root = absolute(out or f"experiments/{settings.name}-{settings.method.kind}-crossvalidation")
    from flows.crossvalidating import crossvalidate as run
    from flows.crossvalidating import print_crossvalidation

    with standard_output(as_json):
        document = run(settings, root, parts)
    print_json(document) if as_json else print_crossvalidation(document)
