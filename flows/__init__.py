"""Order, schedule, retries and the command line: what knows Prefect."""

import time

BEGAN = time.perf_counter()
"""When the process began, for the overhead of a run."""
