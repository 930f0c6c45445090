"""One stream of a reprocess in a process of its own.

The process ends with the one that started it, also when that dies of kill -9: its standard input
ends then. The word `stop` there lets it end after the cycle under way. It does not matter when it
ends: the ledger says what is done.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import flows
from flows.errors import reported
from flows.signals import stopping

__all__ = ["Outcome", "run_process"]

CODE = "from flows.stream_process import main; main()"
STOP = "stop"
POLL = 0.2


class Outcome(NamedTuple):
    """How a stream's unit of work ended.

    Attributes:
        code: 0 done or stopped, 1 failed, 2 the input is wrong, negative: killed.
        text: What it said last.
    """

    code: int
    text: str = ""


def run_process(
    directory: str,
    name: str,
    api: str | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    is_over: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a stream in a process of its own and return how it ended.

    Args:
        directory: Address of the reprocess.
        name: The stream.
        api: The Prefect API to use; the configured one, or one of its own, if None.
        is_stopped: Whether it is to end after the cycle under way.
        is_over: Whether it is to end at once.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", CODE, directory, name],
        env=_environment(api),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    reader = threading.Thread(target=_relay, args=(process, name, said))
    reader.start()
    asked = False
    while process.poll() is None:
        if is_over():
            process.kill()
        elif is_stopped() and not asked:
            asked = _ask(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    reader.join()
    if process.returncode < 0:
        return Outcome(process.returncode, f"killed by {signal.Signals(-process.returncode).name}")
    return Outcome(process.returncode, said[-1] if said else "")


def _environment(api: str | None) -> dict[str, str]:
    """Return the environment of the process: one thread, and where our modules are."""
    home = str(Path(flows.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return os.environ | own | ({} if api is None else {"PREFECT_API_URL": api})


def _relay(process: "subprocess.Popen[str]", name: str, said: list[str]) -> None:
    """Pass on what the process says, and remember it without the prefix."""
    assert process.stdout is not None
    for line in process.stdout:
        text = line.rstrip().removeprefix("losda: ")
        if text:
            said[:] = [text]
            sys.stderr.write(f"losda: {name}: {text}\n")
            sys.stderr.flush()


def _ask(process: "subprocess.Popen[str]") -> bool:
    """Ask the process to stop."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(f"{STOP}\n")
        process.stdin.flush()
    return True


def main() -> None:
    """Run the stream that the arguments name."""
    threading.Thread(target=_listen, daemon=True).start()
    sys.exit(_run(*sys.argv[1:3]))


def _listen() -> None:
    """Obey standard input; end at once with whoever is at the other end."""
    for line in sys.stdin:
        if line.strip() == STOP:
            stopping.set()
    os._exit(1)


@reported
def _run(directory: str, name: str) -> None:
    from flows.running import start_api
    from tasks.streams import read_reprocessing

    api = start_api(read_reprocessing(directory).whole)
    try:
        from flows.reprocessing import stream

        api.wait()
        asyncio.run(stream(directory, name))
    finally:
        api.stop()
