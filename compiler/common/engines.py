"""Where independent items of work run: here, in processes, or on a Ray cluster.

An item's result depends on the item alone, so results are the same wherever they are made. Who
stops asking for results (by leaving the loop over `Engine.run`, also by Ctrl-C) ends what still
runs: a race is a loop that is left when it is decided.
"""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from ullage.compiler.common.errors import UllageError, UsageError

# Values of `--engine`.
ENGINES = ("processes", "ray")
# Seconds for which results are waited for after the time of the work is over.
HANDING_OVER_S = 0.3
# The environment variable by which Ray itself names a cluster.
RAY_ADDRESS = "RAY_ADDRESS"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """What runs a function on items.

    Attributes:
        jobs: items that run side by side.
    """

    jobs: int

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ends: float = math.inf,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result) as results come in.

        When the generator is closed, items that still run in processes of the engine are ended,
        and those that have not begun do not begin.

        Args:
            function: a function of a module, of an item alone.
            items: picklable, and so are results.
            ends: `time.monotonic()` value at which nobody waits any longer: what is not there
                then is not yielded.

        Raises:
            UllageError: a process died.
        """


def wall_time(monotonic_s: float) -> float:
    """`time.time()` at a `time.monotonic()` value: clocks of two machines agree on that alone."""
    return time.time() - (time.monotonic() - monotonic_s)


def monotonic_time(wall_s: float) -> float:
    """`time.monotonic()` at a `time.time()` value; undoes `wall_time` in another process."""
    return time.monotonic() - (time.time() - wall_s)


def share_of_turn(number: int, count: int, jobs: int, later: float = 0.0) -> float:
    """Share of the time left for an item when it begins, where items share a time limit.

    Args:
        number: of the item, in the order in which they begin.
        count: all items.
        jobs: items side by side, each round of which has as much as another one.
        later: what follows the items, as a multiple of one round.
    """
    rounds = -(-count // jobs)
    return 1 / (rounds - number // jobs + later)


def tells_nobody(_: str) -> None:
    """What an item that is run elsewhere does with progress."""


def in_order(
    engine: Engine, function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """The results of all items, in the order of the items; errors as of `Engine.run`."""
    return [result for _, result in sorted(engine.run(function, items), key=lambda pair: pair[0])]


@contextmanager
def open_engine(name: str, jobs: int, *, threads: bool = False) -> Iterator[Engine]:
    """What runs items, until the context ends.

    Args:
        name: `processes` or `ray`. Ray joins the cluster of the variable RAY_ADDRESS where it is
            set, else it begins one on this machine.
        jobs: processes; with one of them and the engine `processes`, items run here.
        threads: the function starts a process of its own for each item, so that the engine
            `processes` waits for them in threads of this process.

    Raises:
        UsageError: the engine is unknown or not installed.
    """
    if jobs < 1:
        raise UsageError(f"--jobs is 1 or more, not {jobs}")
    if name == "ray":
        with _ray_engine(jobs) as engine:
            yield engine
    elif name != "processes":
        raise UsageError(f"unknown engine {name!r}; there are: {', '.join(ENGINES)}")
    elif jobs == 1:
        yield HERE
    elif threads:
        with ThreadPoolExecutor(jobs) as threads_pool:
            yield _Threads(threads_pool, jobs)
    else:
        processes = _Processes(jobs)
        try:
            yield processes
        finally:
            processes.end()


def _left_s(ends: float) -> float | None:
    """Seconds until then; None for ever."""
    return None if math.isinf(ends) else max(0.0, ends - time.monotonic())


class _Here:
    """Runs items one after the other in this process: `HERE`."""

    jobs = 1

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ends: float = math.inf,
    ) -> Generator[tuple[int, Result], None, None]:
        for number, item in enumerate(items):
            if time.monotonic() >= ends:
                return
            yield number, function(item)


HERE: Engine = _Here()


class _Threads:
    """Runs items in threads that wait for processes of their own, which they end themselves."""

    def __init__(self, pool: Executor, jobs: int) -> None:
        self._pool, self.jobs = pool, jobs

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ends: float = math.inf,
    ) -> Generator[tuple[int, Result], None, None]:
        numbers = {self._pool.submit(function, item): n for n, item in enumerate(items)}
        try:
            for done in as_completed(numbers, _left_s(ends)):
                yield numbers[done], done.result()
        except TimeoutError:
            return
        finally:
            for future in numbers:
                future.cancel()


class _NotingContext(SpawnContext):
    """Begins fresh processes, and knows which: a pool of the library does not end those that work.

    Forks of a process with threads (numba, BLAS) may hang; fresh processes do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # type: ignore[override]  # noqa: ANN401, N802 - of the library
        """A process, as of the library."""
        process = SpawnContext.Process(*args, **kwargs)
        self.begun.append(process)
        return process


class _Processes:
    """Runs items in processes, which stay for the next items."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._context = _NotingContext()
        self._pool: ProcessPoolExecutor | None = None

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ends: float = math.inf,
    ) -> Generator[tuple[int, Result], None, None]:
        if self._pool is None:
            self._context = _NotingContext()
            self._pool = ProcessPoolExecutor(
                self.jobs, mp_context=self._context, initializer=_begin_worker
            )
        numbers = {self._pool.submit(function, item): n for n, item in enumerate(items)}
        left = len(numbers)
        try:
            for done in as_completed(numbers, _left_s(ends)):
                result = done.result()
                left -= 1
                yield numbers[done], result
        except TimeoutError:
            return
        except BrokenProcessPool as error:
            raise UllageError(
                f"a process of {self.jobs} died, perhaps for lack of memory; use fewer --jobs"
            ) from error
        finally:
            if left:
                self.end()

    def end(self) -> None:
        """End all processes, also those that work; another `run` begins new ones."""
        if self._pool is None:
            return
        for process in self._context.begun:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        self._pool = None


def _begin_worker() -> None:
    """Settle a process: Ctrl-C goes to its parent, it leaves with that, and prints no results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


class _Ray:
    """Runs items as tasks of Ray."""

    def __init__(self, ray: Any) -> None:  # noqa: ANN401 - a module that may be absent
        self._ray = ray
        self.jobs = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        ends: float = math.inf,
    ) -> Generator[tuple[int, Result], None, None]:
        remote = self._ray.remote(function)
        numbers = {remote.remote(item): n for n, item in enumerate(items)}
        try:
            while numbers:
                done, _ = self._ray.wait(list(numbers), num_returns=1, timeout=_left_s(ends))
                if not done:
                    return
                for task in done:
                    yield numbers.pop(task), self._ray.get(task)
        finally:
            for task in numbers:
                self._ray.cancel(task, force=True)


@contextmanager
def _ray_engine(jobs: int) -> Iterator[Engine]:
    if find_spec("ray") is None:
        raise UsageError(
            "--engine ray needs Ray, which is not installed; install it with "
            "`pip install 'ullage[ray]'` or use --engine processes"
        )
    import ray

    cluster = RAY_ADDRESS in os.environ
    try:
        ray.init(
            num_cpus=None if cluster else jobs,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    except Exception as error:  # of many kinds: no cluster at the address, a machine too busy
        raise UllageError(
            f"Ray cannot begin here: {str(error)[:200] or type(error).__name__}; check "
            f"{RAY_ADDRESS}, or use --engine processes"
        ) from error
    try:
        yield _Ray(ray)
    finally:
        ray.shutdown()
