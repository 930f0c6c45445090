"""Run a coroutine beside the main thread, so that a signal asks it to stop and breaks nothing off.

Prefect turns SIGTERM into an exception in the middle of a flow that runs in the main thread (its
`capture_sigterm`); in any other thread it leaves signals alone. The second signal ends the process
at once.
"""

import asyncio
import contextvars
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["run_until_signal", "stopping"]

Result = TypeVar("Result")
SIGNALS = (signal.SIGTERM, signal.SIGINT)

stopping = threading.Event()
"""Set when this process is to stop, for flows whose parameters come from outside."""


def run_until_signal(
    start: Callable[[threading.Event], Coroutine[Any, Any, Result]],
    stop: threading.Event | None = None,
) -> Result:
    """Run a coroutine and return its result.

    Args:
        start: Returns the coroutine; the event is set at the first SIGTERM or SIGINT.
        stop: The event; a new one if not given.
    """
    stop, found = stop or threading.Event(), Future[Result]()

    def work() -> None:
        try:
            found.set_result(asyncio.run(start(stop)))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            found.set_exception(error)

    def on_signal(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        sys.stderr.write("losda: asked to stop; the stages under way are finished first\n")
        stop.set()

    before = [signal.signal(number, on_signal) for number in SIGNALS]
    try:
        # the context holds Prefect's settings
        threading.Thread(target=contextvars.copy_context().run, args=(work,)).start()
        return found.result()
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
