"""How large a model may be: the window of steps in which fills and spills may move."""

from collections.abc import Sequence

from ullage.solvers.state.segments import Segment

# Number of variables of moves at most; beyond it presolve alone takes a minute.
MOST_VARIABLES = 40_000
# Seconds of building a model, for each such variable.
SECONDS_PER_VARIABLE = 6e-5
# Share of the time left that building a model may take.
BUILD_SHARE = 0.15


def choose_window(
    segments: Sequence[Segment], steps: int, seconds: float, window_steps: int
) -> int:
    """The window: steps that fills may begin before their accesses, and spills end after theirs.

    All of them where the model stays small enough for the time; 0 when there is no time at all.
    """
    if window_steps:
        return window_steps
    most = min(MOST_VARIABLES, int(BUILD_SHARE * seconds / SECONDS_PER_VARIABLE))
    spans = _spans(segments, steps)
    low, high = 0, steps
    while low < high:
        middle = (low + high + 1) // 2
        if 2 * sum(min(span, middle) for span in spans) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _spans(segments: Sequence[Segment], steps: int) -> list[int]:
    """Steps of all windows when they are as long as the accesses allow."""
    spans: list[int] = []
    for segment in segments:
        written = 0
        for j, access in enumerate(segment.accesses):
            following = segment.accesses[j + 1].step if j + 1 < len(segment.accesses) else steps
            if access.reads:
                spans.append(access.step - written)
            if not segment.is_given:
                spans.append(following - access.step - 1)
            if access.writes:
                written = access.step + 1
    return spans
