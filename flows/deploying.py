"""The commands `losda deploy | wake | up`: a Prefect server, its workers, and what they drive."""

import sys

from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["deploy", "wake"]


@reported
def deploy(
    name: str | None = None,
    /,
    *,
    out: str | None = None,
    cron: str = "*/15 * * * *",
    schedule: str | None = None,
    notify: str | None = None,
    remove: bool = False,
    dry_run: bool = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Let a Prefect server have losda's pools, deployments and automations, and drive an experiment.

    The server is that of PREFECT_API_URL, the password that of PREFECT_API_AUTH_STRING. What is as
    it should be is left alone: the command can be repeated.

    Args:
        name: Name of a preset, path of a YAML file, or directory of an experiment that was driven:
            what is to be driven from now on. By default nothing more than before.
        out: Directory or s3:// address of the experiment; default experiments/NAME-METHOD.
        cron: When the server wakes the drive, UTC; observations that arrive wake it too.
        schedule: Name of the schedule; default the last part of the experiment's address.
        notify: Notification block of the server, TYPE/NAME, for runs that are late or fail.
        remove: The experiment is driven no more.
        dry_run: Show what would change.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.deploy import Wish, print_deploy
    from flows.deploy import deploy as apply
    from flows.operations import experiment_of

    experiment = experiment_of(name, out, overrides or []) if name else None
    if experiment is None and (out or overrides or remove):
        raise ValueError("deploy: --out, --set and --remove are about an experiment; name it")
    place = experiment.root.rstrip("/").rsplit("/", 1)[-1] if experiment else ""
    with standard_output(as_json):
        document = apply(experiment, Wish(schedule or place, cron, remove), notify, dry_run)
    print_json(document) if as_json else print_deploy(document)


@reported
def wake(directory: str, /, *, as_json: Json = False) -> None:
    """Say that observations of an experiment arrived; the server wakes its drive.

    Args:
        directory: Directory or s3:// address of the experiment.
        as_json: Print one JSON document.
    """
    from flows.deploy import wake as announce

    root = absolute(directory)
    with standard_output(as_json):
        document = announce(root)
    print_json(document) if as_json else sys.stdout.write(f"{root} is woken\n")
