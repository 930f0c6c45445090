"""The commands `losda drive | monitor | hold | release | rerun | gc`: an experiment in operations."""

import sys

from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["drive", "gc", "hold", "monitor", "release", "rerun"]


@reported
def drive(
    name: str,
    /,
    *,
    out: str | None = None,
    every: str = "60s",
    cycles: int | None = None,
    until_done: bool = False,
    once: bool = False,
    wait: bool = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> int:
    """Run the cycles of an experiment as they become due, in order, until it is told to stop.

    What fails is tried again and then held, with an alert; a hold, a release or a rerun counts from
    the next look on. After SIGTERM or SIGINT the stages under way are finished.

    Args:
        name: Name of a preset, path of a YAML file, or directory of an experiment that was driven.
        out: Directory or s3:// address of the experiment; default experiments/NAME-METHOD.
        every: Longest time between two looks at what is due.
        cycles: Number of cycles; the drive ends when they are done.
        until_done: End when the last cycle (operations.end) is done.
        once: End as soon as nothing is due, for cron; 1 if somebody is needed.
        wait: Wait for the end of another drive of the experiment, instead of refusing.
        overrides: Any setting, as key=value, such as operations.offset=PT4H; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.operations import How, drive_experiment, experiment_of, print_drive, seconds_of

    how = How(seconds_of("--every", every), once, cycles, until_done or cycles is not None, wait)
    experiment = experiment_of(name, out, overrides or [])
    with standard_output(as_json):
        document = drive_experiment(experiment, how)
    print_json(document) if as_json else print_drive(document)
    return int(once and any(row["kind"] in ("failed", "stale") for row in document["open"]))


@reported
def monitor(directory: str, /, *, as_json: Json = False) -> None:
    """Write monitor.html, the experiment over time, and print its address.

    `losda run` and `losda drive` refresh it after each cycle.

    Args:
        directory: Directory or s3:// address of the experiment.
        as_json: Print one JSON document.
    """
    from flows.monitoring import write_monitor

    document = write_monitor(absolute(directory))
    print_json(document) if as_json else sys.stdout.write(f"{document['monitor']}\n")


@reported
def hold(
    directory: str, cycle: str | None = None, /, *, reason: str = "", as_json: Json = False
) -> None:
    """Let the drive begin nothing more of an experiment, or nothing from one cycle on.

    Args:
        directory: Directory or s3:// address of the experiment.
        cycle: The cycle, YYYYMMDDTHH; by default the whole experiment.
        reason: Why; `losda status` shows it.
        as_json: Print one JSON document.
    """
    from flows import holding

    document = holding.hold(absolute(directory), cycle, reason)
    print_json(document) if as_json else sys.stdout.write(f"{cycle or directory} is held\n")


@reported
def release(
    directory: str, cycle: str | None = None, /, *, reason: str = "", as_json: Json = False
) -> None:
    """Take a hold back, also that after too many failures: they count no more.

    Args:
        directory: Directory or s3:// address of the experiment.
        cycle: The cycle, YYYYMMDDTHH; by default the whole experiment.
        reason: Why; kept in the journal.
        as_json: Print one JSON document.
    """
    from flows import holding

    document = holding.release(absolute(directory), cycle, reason)
    print_json(document) if as_json else sys.stdout.write(f"{cycle or directory} is released\n")


@reported
def rerun(
    directory: str,
    cycle: str | None = None,
    /,
    *,
    stage: str | None = None,
    stale: bool = False,
    only: bool = False,
    reason: str = "",
    dry_run: bool = False,
    as_json: Json = False,
) -> None:
    """Reopen a cycle with all that depends on it; a `losda run` or `drive` does it again.

    Args:
        directory: Directory or s3:// address of the experiment.
        cycle: The cycle, YYYYMMDDTHH.
        stage: Only this stage of the cycle: forecast, observations, analysis or verification.
        stale: Reopen what was made with other code or from other inputs, from the cycle on.
        only: Leave what depends on it as it is.
        reason: Why; kept in the ledger.
        dry_run: Show what would be reopened.
        as_json: Print one JSON document.
    """
    from flows import upkeep

    options = {"stale": stale, "only": only, "dry_run": dry_run}
    document = upkeep.rerun(absolute(directory), cycle, stage, reason=reason, **options)
    print_json(document) if as_json else upkeep.print_rerun(document)


@reported
def gc(
    directory: str,
    /,
    *,
    keep: str | None = None,
    keep_runs: str | None = None,
    dry_run: bool = False,
    as_json: Json = False,
) -> int:
    """Remove what stages wrote and nobody needs, and what Prefect recorded of old flow runs.

    The archive, the ledger, the journal and the pages stay.

    Args:
        directory: Directory or s3:// address of the experiment.
        keep: Keep everything of the last cycles so far back, so that they can be rerun, and
            attempts that lost or died so recently; default operations.retention.attempts.
        keep_runs: Keep Prefect's records (runs, logs, artifacts) so long after a flow run's end;
            default operations.retention.runs.
        dry_run: Show what would be removed.
        as_json: Print one JSON document.
    """
    from flows import upkeep

    with standard_output(as_json):
        document = upkeep.clean(absolute(directory), keep, keep_runs, dry_run)
    print_json(document) if as_json else upkeep.print_clean(document)
    return int("failed" in document["runs"])
