"""Calls of solvers beside the main thread, which alone hears Ctrl-C."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

# Seconds between two looks at whether the calls are done.
POLL_S = 0.05


class _Call(Generic[Answer]):
    """A call in a thread of its own; the thread does not keep the process from ending."""

    def __init__(self, function: Callable[[], Answer]) -> None:
        self._function = function
        self._answers: list[Answer] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error

    def is_done(self) -> bool:
        """Whether the call is over, after waiting for it for a moment."""
        self._thread.join(POLL_S)
        return not self._thread.is_alive()

    def answer(self) -> Answer:
        """What the call returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._answers[0]


def run_beside(
    functions: Sequence[Callable[[], Answer]], stop: Callable[[], None] = lambda: None
) -> list[Answer]:
    """The answers of functions that run at the same time, a thread each.

    Args:
        functions: what to call.
        stop: asks the solvers to stop, where they can be asked. One that cannot goes on by itself
            until its own limit, and its answer is dropped.

    Raises:
        KeyboardInterrupt: at once on Ctrl-C, whatever the solvers do.
    """
    calls = [_Call(function) for function in functions]
    try:
        for call in calls:
            while not call.is_done():
                pass
    except KeyboardInterrupt:
        stop()
        raise
    return [call.answer() for call in calls]
