"""Kill a run at random instants, start it again with the same command, and compare with an uninterrupted one.

    python tests/chaos.py embedded --cycles 12 --kills 20 --out /tmp/chaos

Prints one line per kill and ends with exit code 1 if the archives differ, or if a stage was tried again after
its commit.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ARCHIVE = ("analysis.zarr", "background.zarr", "feedback", "scores")
REPOSITORY = str(Path(__file__).resolve().parent.parent)


def archive_of(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file that people read."""
    files = [p for name in ARCHIVE for p in (root / name).rglob("*") if p.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def files_of(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def start(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a losda command."""
    return subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import app; app()", *arguments],
        env=environment | {"PYTHONPATH": REPOSITORY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Run a losda command to its end; return the seconds."""
    began = time.monotonic()
    process = start(arguments, environment)
    _, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {process.returncode}: {error}")
    return time.monotonic() - began


def kill_after(process: subprocess.Popen[str], root: Path, commits: int, delay: float) -> str:
    """Kill a run some time after some more commits; return what was done then, or nothing."""
    begin = len(list(root.glob("ledger/*/*.json")))
    while len(list(root.glob("ledger/*/*.json"))) < begin + commits:
        if process.poll() is not None:
            return ""
        time.sleep(0.005)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    _, error = process.communicate()
    if process.returncode > 0:
        raise RuntimeError(f"exit code {process.returncode}: {error}")
    return f"{len(list(root.glob('ledger/*/*.json')))} commits" if process.returncode else ""


def repeated(root: Path) -> list[str]:
    """Return the stages that were tried again after they had been committed."""
    found = []
    for path in root.glob("ledger/*/*.json"):
        commit = json.loads(path.read_text())
        attempts = (root / "attempts" / path.parent.name / path.stem).glob("a*-*")
        last = max(int(attempt.name.split("-")[0][1:]) for attempt in attempts)
        if int(commit["attempt"].split("-")[0][1:]) != last:
            found.append(f"{path.parent.name}/{path.stem}")
    return found


def torture(
    arguments: Sequence[str],
    root: Path,
    kills: int,
    environment: dict[str, str],
    generator: random.Random,
    longest: float = 1.0,
) -> int:
    """Run to the end with `kills` kills on the way; return how many there were."""
    done = 0
    while done < kills:
        process = start(arguments, environment)
        commits = generator.choice((0, 0, 1, 1, 2, 3))
        delay = generator.uniform(0, longest if commits else 6 * longest)
        state = kill_after(process, root, commits, delay)
        if not state:
            break
        done += 1
        sys.stderr.write(f"kill {done}: {delay:.2f} s after {commits} new commits, {state}\n")
    finish(arguments, environment)
    return done


def main() -> int:
    """Run the comparison of the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options, rest = parser.parse_known_args()
    base = ["run", options.config, "--cycles", str(options.cycles), "--no-report", *rest]
    environment = dict(os.environ)
    whole, killed = options.out / "whole", options.out / "killed"
    seconds = finish([*base, "--out", str(whole)], environment)
    generator, longest = random.Random(options.seed), seconds / (4 * options.cycles)
    arguments = [*base, "--out", str(killed)]
    kills = torture(arguments, killed, options.kills, environment, generator, longest)
    same, again = archive_of(whole) == archive_of(killed), repeated(killed)
    sys.stdout.write(f"{kills} kills; archives equal: {same}; stages tried again: {again}\n")
    return 0 if same and not again else 1


if __name__ == "__main__":
    sys.exit(main())
