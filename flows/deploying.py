"""The commands `losda deploy | wake | up`: a Prefect server, its workers, and what they drive."""

import sys
from pathlib import Path
from typing import Any, Literal

from flows.errors import reported
from flows.output import Json, Overrides, absolute, print_json, standard_output

__all__ = ["deploy", "up", "wake"]


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


@reported
def up(
    directory: str = "services",
    /,
    *,
    port: int = 4200,
    database: Literal["auto", "sqlite", "postgresql"] = "auto",
    s3: bool = True,
    password: bool = True,
    cpu_limit: int = 4,
    as_json: Json = False,
) -> None:
    """Start a Prefect server, an S3 server and workers on this machine, until Ctrl-C.

    All listen on loopback, and the server asks for a password, which is made at the first start,
    shown once and kept in DIRECTORY/environment. What dies is started again.

    Args:
        directory: Files, logs and passwords of the services.
        port: Port of the Prefect server.
        database: Where the server keeps its records; auto is PostgreSQL where it is installed.
        s3: Start an S3 server (SeaweedFS).
        password: Let the Prefect server ask for a password.
        cpu_limit: Runs at once on the cpu worker.
        as_json: Print one JSON document when all is up, without the password.
    """
    from flows.up import Wish
    from flows.up import up as start

    folder = Path(absolute(directory))
    wish = Wish(folder, port, database, s3, password, cpu_limit)
    start(wish, _print_document if as_json else _print_services)


def _print_document(document: dict[str, Any]) -> None:
    print_json({key: value for key, value in document.items() if key != "password"})
    sys.stdout.flush()


def _print_services(document: dict[str, Any]) -> None:
    gpus = document["devices"] or "no device; the gpu worker runs on the processor"
    lines = [
        f"Prefect    {document['page']}  ({document['database']})",
        *([f"S3         {document['bucket']}"] if document["bucket"] else []),
        f"GPUs       {gpus}",
        f"logs       {document['logs']}",
        f"password   in {document['environment']}",
        f"           for commands: set -a; . {document['environment']}; set +a",
    ]
    if document["password"]:
        lines.append(f"           shown this once: {document['user']}:{document['password']}")
    sys.stdout.write("\n".join([*lines, "Ctrl-C ends all of it", ""]))
    sys.stdout.flush()
