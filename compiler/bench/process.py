"""What the process of a row is told: how many threads and how much memory it has, when to leave."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

# What a row's process does first, before what takes a second to load: look after its parent.
BEGINNING = (
    "import os; from ullage.compiler.bench.process import leave_with; leave_with(os.getppid()); "
)
# Seconds between two looks at whether the parent is still there.
ORPHAN_S = 0.5
# Variables by which libraries are told how many threads to use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def memory_reason(memory_bytes: int) -> str:
    """Why a row has no plan where its process ran out of memory."""
    from ullage.compiler.common.units import format_size

    return f"the process had {format_size(memory_bytes)} and needed more"


def suite_memory_reason(memory_bytes: int) -> str:
    """Why a row of a suite, which says how much memory a row has, ran out of it."""
    return f"{memory_reason(memory_bytes)}; `memory` of the suite says how much"


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


class Running:
    """The processes of rows that run now, in threads of this process: Ctrl-C ends them all.

    Attributes:
        is_over: no other row is begun.
    """

    def __init__(self, end: Callable[["subprocess.Popen[str]"], None], *, waits: bool) -> None:
        """Nothing runs yet.

        Args:
            end: ends a process.
            waits: for what a process still says; else `KeyboardInterrupt` is raised at once.
        """
        self._end, self._waits = end, waits
        self.is_over = False
        self._processes: set[subprocess.Popen[str]] = set()

    @contextmanager
    def noted(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """Pass Ctrl-C on to a process meanwhile."""
        self._processes.add(process)
        if self.is_over:  # since it was begun
            self._end(process)
        try:
            yield
        finally:
            self._processes.discard(process)

    @contextmanager
    def started(self, program: str) -> "Iterator[subprocess.Popen[str]]":
        """Our own interpreter with a program, its streams open; it is gone at the end."""
        with subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", BEGINNING + program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(os.environ),
            text=True,
        ) as process:
            try:
                with self.noted(process):
                    yield process
            finally:
                process.kill()

    @contextmanager
    def ended_by_ctrl_c(self) -> Iterator[None]:
        """Pass the first Ctrl-C on meanwhile; another one ends the command.

        Outside the main thread signals are left alone.
        """
        self.is_over = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler:
            yield
            return

        def end(_signal: int, _frame: object) -> None:
            signal.signal(signal.SIGINT, before)
            self.is_over = True
            running = tuple(self._processes)
            for process in running:
                self._end(process)
            if not running or not self._waits:  # none was begun, or they are another machine's
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, end)
        try:
            yield
        except KeyboardInterrupt:
            for process in tuple(self._processes):
                process.kill()
            raise
        finally:
            signal.signal(signal.SIGINT, before)
