"""The command line: `losda run | train | report | status | check | registry | world`.

Tables are for people; `--json` prints one JSON document on standard output and everything else on standard error.
Exit codes: 0 done, 1 failed, 2 bad input. What a command needs is imported when it runs: help comes at once.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from configs import Config, load
from flows.errors import reported

__all__ = ["app"]

app = App(name="losda", help="Cycling atmospheric data assimilation with LO-SDA.")
registry = App(name="registry", help="Trained components: list, show, push, alias.")
app.command(registry)

Overrides = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=False)]
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
@reported
def run(
    config: str,
    *,
    out: str | None = None,
    cycles: int | None = None,
    method: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    overrides: Overrides = None,
    report: bool = True,
    as_json: Json = False,
) -> None:
    """Run the cycles of an experiment, from where its directory's ledger ends.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Directory or s3:// address of the experiment; default experiments/NAME-METHOD.
        cycles: Number of cycles.
        method: Assimilation method.
        preset: Preset of the method.
        seed: Seed of all random draws.
        overrides: Any setting, as key=value; may be repeated.
        report: Write report.html.
        as_json: Print one JSON document.
    """
    from flows.running import run_experiment
    from tasks.experiment import Experiment

    options = {"cycles": cycles, "method.kind": method, "method.preset": preset, "seed": seed}
    settings = _load(config, overrides, options)
    root = _absolute(out or f"experiments/{settings.name}-{settings.method.kind}")
    with _standard_output(as_json):
        document = run_experiment(Experiment(root=root, config=settings), report=report)
    if as_json:
        _print_json(document)
    else:
        from flows.tables import print_run

        print_run(document)


@app.command
@reported
def train(
    config: str,
    *,
    out: str | None = None,
    registry: str | None = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train the components of a configuration and publish them; goes on where it was killed.

    Args:
        config: Name of a preset, or path of a YAML file.
        out: Working directory; default training/NAME.
        registry: Address of the registry to publish to; default OUT/registry.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.train import train as train_components

    settings = _load(config, overrides, {})
    work = out or f"training/{settings.name}"
    with _standard_output(as_json):
        document = train_components(settings, registry or f"{work}/registry", work)
    if as_json:
        _print_json(document)


@app.command
@reported
def report(directory: str, *, as_json: Json = False) -> None:
    """Write the report of an experiment, one self-contained page, and print its address.

    Args:
        directory: Directory or s3:// address of the experiment.
        as_json: Print one JSON document.
    """
    from tasks.report import write_report

    with _standard_output(as_json):
        address = write_report(_absolute(directory))
    _print_json({"report": address}) if as_json else sys.stdout.write(f"{address}\n")


@app.command
@reported
def status(directory: str, *, as_json: Json = False) -> None:
    """Show which stages of which cycles are committed, and which of them are stale.

    Args:
        directory: Directory or s3:// address of the experiment.
        as_json: Print one JSON document.
    """
    from flows.status import print_status, status_of

    document = status_of(_absolute(directory))
    _print_json(document) if as_json else print_status(document)


@app.command
@reported
def check(config: str, *, overrides: Overrides = None, as_json: Json = False) -> int:
    """Check everything that a run needs, without running: one line each.

    Args:
        config: Name of a preset, or path of a YAML file.
        overrides: Any setting, as key=value; may be repeated.
        as_json: Print one JSON document.
    """
    from flows.checking import check_all

    settings = _load(config, overrides, {})
    with _standard_output(as_json):
        findings = check_all(settings, show=not as_json)
    if as_json:
        _print_json({"ok": all(f["ok"] for f in findings), "checks": findings})
    return 0 if all(finding["ok"] for finding in findings) else 2


def _load(config: str, overrides: Sequence[str] | None, options: Mapping[str, object]) -> Config:
    given = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return load(config, [*(overrides or []), *given])


def _absolute(address: str) -> str:
    """Return a local path that means the same in every working directory."""
    return address if "://" in address else str(Path(address).absolute())


@contextmanager
def _standard_output(as_json: bool) -> Iterator[None]:
    """Keep standard output for the JSON document alone."""
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def _print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


Address = Annotated[str, Parameter(name="--registry")]


@registry.command(name="list")
@reported
def list_components(*, address: Address = "packaged", as_json: Json = False) -> None:
    """List the components that can be had.

    Args:
        address: Registry that is searched before the package's own.
        as_json: Print one JSON document.
    """
    from flows.registering import entries

    found = entries(address)
    if as_json:
        _print_json(found)
        return
    from flows.tables import print_rows

    rows = [{**row, "aliases": ", ".join(row["aliases"])} for row in found]
    print_rows(rows, f"components in {address}")


@registry.command
@reported
def show(component: str, reference: str, *, address: Address = "packaged") -> None:
    """Print the card of a component as JSON, after verifying it.

    Args:
        component: Kind of component, such as denoiser.
        reference: Alias, digest, or the first 8 or more digits of one.
        address: Registry that is searched before the package's own.
    """
    from flows.registering import show as card_of

    _print_json(card_of(address, component, reference))


@registry.command
@reported
def push(
    component: str,
    reference: str,
    target: str,
    *,
    alias: str | None = None,
    address: Address = "packaged",
) -> None:
    """Copy a component to another registry.

    Args:
        component: Kind of component, such as denoiser.
        reference: Alias, digest, or the first 8 or more digits of one.
        target: Address of the registry to copy to.
        alias: Let this name stand for it there.
        address: Registry that is searched before the package's own.
    """
    from flows.registering import push as copy

    sys.stdout.write(f"{copy(address, target, component, reference, alias)}\n")


@registry.command
@reported
def alias(component: str, name: str, reference: str, *, address: Address) -> None:
    """Let a name stand for a component.

    Args:
        component: Kind of component, such as denoiser.
        name: The alias.
        reference: Alias, digest, or the first 8 or more digits of one.
        address: The registry.
    """
    from tasks.registry import Registry

    store = Registry(address)
    store.alias(component, name, store.resolve(component, reference))
