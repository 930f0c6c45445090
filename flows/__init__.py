"""Order, schedule, retries and the command line: what knows Prefect."""

import os
import time

BEGAN = time.perf_counter()
"""When the process began, for the overhead of a run."""

# With TorchScript, forward derivatives compile 0.7 s of decompositions that nothing here uses; and all
# processes are to compute the same, bit for bit. It counts only before torch is loaded.
os.environ.setdefault("PYTORCH_JIT", "0")
