"""How large a model may be, and for which plans its bound holds."""

from collections.abc import Sequence

from ullage.solvers.state.segments import Atom

MOST_VARIABLES = 40_000  # beyond, presolve alone takes a minute
SECONDS_PER_VARIABLE = 6e-5  # of building a model
BUILD_SHARE = 0.15  # of the time left


def choose_window(atoms: Sequence[Atom], steps: int, seconds: float, window_steps: int) -> int:
    """Steps that fills may begin before their events, and spills end after theirs.

    All of them where the model stays small enough for the time; 0 when there is no time at all.
    """
    if window_steps:
        return window_steps
    most = min(MOST_VARIABLES, int(BUILD_SHARE * seconds / SECONDS_PER_VARIABLE))
    spans = _spans(atoms, steps)
    low, high = 0, steps
    while low < high:
        middle = (low + high + 1) // 2
        if 2 * sum(min(span, middle) for span in spans) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _spans(atoms: Sequence[Atom], steps: int) -> list[int]:
    """Lengths of all windows when they are open."""
    found: list[int] = []
    for atom in atoms:
        written = 0
        for j, event in enumerate(atom.events):
            following = atom.events[j + 1].step if j + 1 < len(atom.events) else steps
            if event.reads:
                found.append(event.step - written)
            if not atom.is_given:
                found.append(following - event.step - 1)
            if event.writes:
                written = event.step + 1
    return found
