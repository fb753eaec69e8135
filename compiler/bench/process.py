"""What the process of a row is told: how many threads and how much memory it has, when to leave."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

# Seconds between two looks at whether the parent is still there.
ORPHAN_S = 0.5
# Variables by which libraries are told how many threads to use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def memory_reason(memory_bytes: int) -> str:
    """Why a row has no plan where its process ran out of memory."""
    from ullage.compiler.common.units import format_size

    return f"the process had {format_size(memory_bytes)} and needed more"


def limit_memory(memory_bytes: int) -> None:
    """Limit the address space of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):  # a limit below that is set already holds
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def peak_memory_bytes() -> int | None:
    """The most memory that this process had, where the system says so."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def leave_with(parent: int) -> None:
    """Leave when the parent is gone: nobody waits for the result."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_S)
        os._exit(1)

    if hasattr(os, "getppid") and os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a row's process: one thread in each library."""
    return {**variables, **dict.fromkeys(THREADS, "1")}
