"""Deadlines on machines that others use, too."""

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
TRIES = 3


def within_limit(limit_s: float, attempt: Callable[[float], _Result]) -> _Result:
    """What the first attempt returns that takes at most its limit, 10 % and a second.

    A busy machine makes one attempt late; code that forgets its deadline makes all of them late.

    Args:
        limit_s: seconds that an attempt may take.
        attempt: is given its deadline, as `time.monotonic` counts.
    """
    late_s = []
    for _ in range(TRIES):
        begun = time.monotonic()
        outcome = attempt(begun + limit_s)
        took_s = time.monotonic() - begun
        if took_s <= 1.1 * limit_s + 1.0:
            return outcome
        late_s.append(took_s)
    raise AssertionError(f"limit of {limit_s} s, but {TRIES} attempts took {late_s}")
