"""Where independent items of work run: here, in processes, or on a Ray cluster.

An item's result depends on the item alone, so results are the same wherever they are made.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from ullage.compiler.common.errors import UllageError, UsageError

# Values of `--engine`.
ENGINES = ("processes", "ray")
# The environment variable by which Ray itself names a cluster.
RAY_ADDRESS = "RAY_ADDRESS"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """What runs a function on items."""

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, its result) as results come in.

        Args:
            function: a function of a module, of an item alone.
            items: picklable, and so are results.

        Raises:
            UllageError: a process died.
        """


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
            yield _Pool(threads_pool, jobs)
    else:
        # Forks of a process with threads (numba, BLAS) may hang; fresh processes do not.
        pool = ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=_ignore_ctrl_c
        )
        try:
            yield _Pool(pool, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


class _Here:
    """Runs items one after the other in this process: `HERE`."""

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        for number, item in enumerate(items):
            yield number, function(item)


HERE: Engine = _Here()


class _Pool:
    """Runs items in a pool of processes or threads."""

    def __init__(self, pool: Executor, jobs: int) -> None:
        self._pool, self._jobs = pool, jobs

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        numbers = {self._pool.submit(function, item): n for n, item in enumerate(items)}
        try:
            for done in as_completed(numbers):
                yield numbers[done], done.result()
        except BrokenProcessPool as error:
            raise UllageError(
                f"a process of {self._jobs} died, perhaps for lack of memory; use fewer --jobs"
            ) from error
        finally:
            for future in numbers:
                future.cancel()


def _ignore_ctrl_c() -> None:
    """Ctrl-C goes to the parent, which ends its workers once it has saved what there is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Ray:
    """Runs items as tasks of Ray."""

    def __init__(self, ray: Any) -> None:  # noqa: ANN401 - a module that may be absent
        self._ray = ray

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        remote = self._ray.remote(function)
        numbers = {remote.remote(item): n for n, item in enumerate(items)}
        try:
            while numbers:
                done, _ = self._ray.wait(list(numbers), num_returns=1)
                for task in done:
                    yield numbers.pop(task), self._ray.get(task)
        finally:
            for task in numbers:
                self._ray.cancel(task)


@contextmanager
def _ray_engine(jobs: int) -> Iterator[Engine]:
    if find_spec("ray") is None:
        raise UsageError(
            "--engine ray needs Ray, which is not installed; install it with "
            "`pip install 'ullage[ray]'` or use --engine processes"
        )
    import ray

    cluster = RAY_ADDRESS in os.environ
    ray.init(
        num_cpus=None if cluster else jobs,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    try:
        yield _Ray(ray)
    finally:
        ray.shutdown()
