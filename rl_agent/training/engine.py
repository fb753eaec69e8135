"""Where the items of a generation are played: here, in processes, or on a Ray cluster.

Results come back in the order of the items, and an item's result depends on the item alone, so
training gives the same checkpoint wherever it runs (on machines of one kind: sums of floating-point
numbers may differ between processors).
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context

from ullage.compiler.common.errors import UllageError, UsageError
from ullage.rl_agent.training.train import Play
from ullage.rl_agent.training.work import ItemResult, WorkItem

# Values of `--engine`.
ENGINES = ("processes", "ray")
# The environment variable by which Ray itself names a cluster.
RAY_ADDRESS = "RAY_ADDRESS"


@contextmanager
def open_engine(name: str, jobs: int) -> Iterator[Play]:
    """What plays the items of a generation, until the context ends.

    Args:
        name: `processes` or `ray`. Ray joins the cluster of the variable RAY_ADDRESS where it is
            set, else it begins one on this machine.
        jobs: processes; with one of them and the engine `processes`, items are played here.

    Raises:
        UsageError: the engine is unknown or not installed.
    """
    if jobs < 1:
        raise UsageError(f"--jobs is 1 or more, not {jobs}")
    if name == "ray":
        with _ray_engine(jobs) as play:
            yield play
    elif name != "processes":
        raise UsageError(f"unknown engine {name!r}; there are: {', '.join(ENGINES)}")
    elif jobs == 1:
        yield map
    else:
        with _process_engine(jobs) as play:
            yield play


@contextmanager
def _process_engine(jobs: int) -> Iterator[Play]:
    # Forks of a process with threads (numba, BLAS) may hang; fresh processes do not.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_ctrl_c)

    def play(
        function: Callable[[WorkItem], ItemResult], items: Sequence[WorkItem]
    ) -> Iterable[ItemResult]:
        try:
            return list(pool.map(function, items))
        except BrokenProcessPool as error:
            raise UllageError(
                f"a training process of {jobs} died, perhaps for lack of memory; use fewer --jobs"
            ) from error

    try:
        yield play
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_ctrl_c() -> None:
    """Ctrl-C goes to the parent, which ends its workers once it has saved what there is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _ray_engine(jobs: int) -> Iterator[Play]:
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

    def play(
        function: Callable[[WorkItem], ItemResult], items: Sequence[WorkItem]
    ) -> Iterable[ItemResult]:
        remote = ray.remote(function)
        results: list[ItemResult] = ray.get([remote.remote(item) for item in items])
        return results

    try:
        yield play
    finally:
        ray.shutdown()
