"""The shortest stays that operators cannot do without: where a plan has no choice."""

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Atom, Event


def resident_stay(index: int, atom: Atom, steps: int) -> Stay | None:
    """The stay of an atom whose home is the fastest tier: from its birth to its last use.

    Args:
        index: number of the atom.
        atom: the atom.
        steps: number of steps of the program; weights and outputs stay to its end.

    Returns:
        None for an atom that is never there.
    """
    if not atom.events and not atom.is_given:
        return None
    start = 0 if atom.is_given else atom.events[0].step
    keeps = atom.is_output or atom.kind == "weight"
    last_used = atom.events[-1].step if atom.events else 0
    return Stay(index, start, start, steps if keeps else last_used + 1)


def single_stay(problem: Problem, index: int, atom: Atom, position: int, *, spills: bool) -> Stay:
    """One event, filled in the DMA-only step before and spilled in the one after.

    Args:
        problem: the problem.
        index: number of the atom.
        atom: the atom.
        position: which of its events.
        spills: the home tier needs a copy afterwards.

    Raises:
        UsageError: the target has no link for the fill or the spill.
    """
    target = problem.target
    fastest = target.fastest.name
    event: Event = atom.events[position]
    fill: Moves = ((event.step - 1, atom.size_bytes),) if event.reads else ()
    if fill:
        require_link(problem, atom, atom.home, fastest)
    spill: Moves = ()
    end = event.step + 1
    if spills:
        require_link(problem, atom, fastest, atom.home)
        spill = ((event.step + 1, atom.size_bytes),)
        end = event.step + 2
    return Stay(index, event.step - len(fill), event.step, end, fill, spill)


def require_link(problem: Problem, atom: Atom, source: str, destination: str) -> None:
    """Return when DMA can bring an atom from one tier to another in one transfer.

    Raises:
        UsageError: the target has no such link.
    """
    target = problem.target
    if target.link(source, destination) is None:
        name = problem.buffers[atom.buffer].name
        raise UsageError(
            f"{name!r} must move from {source} to {destination}, and {target.name} has no "
            "link between them; add one (these solvers move data in one hop), choose a home that "
            "has one (--set homes.KIND=TIER), or go over other tiers (--solver fluid)",
            {"source": source, "destination": destination, "tensor": name},
        )
