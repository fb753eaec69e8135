"""Deadlines of stages that are no searches: loops over a model that look at the clock."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ullage.compiler.common.errors import TimeLimitError

_Item = TypeVar("_Item")
# Items between two looks at the clock.
CHECKED_EVERY = 1024


def check_time(deadline: float | None, where: str) -> None:
    """Return while there is time.

    Args:
        deadline: `time.monotonic()` value, None for no limit.
        where: what is being worked on, for the message.

    Raises:
        TimeLimitError: the deadline has passed.
    """
    if deadline is not None and time.monotonic() > deadline:
        raise TimeLimitError(
            f"{where}: the time limit was over before the model was read; "
            "give more time (--time-limit)"
        )


def timed(items: Iterable[_Item], deadline: float | None, where: str) -> Iterator[_Item]:
    """The items, the clock looked at every `CHECKED_EVERY` of them and before the first.

    Raises:
        TimeLimitError: the deadline has passed.
    """
    for number, item in enumerate(items):
        if number % CHECKED_EVERY == 0:
            check_time(deadline, where)
        yield item
