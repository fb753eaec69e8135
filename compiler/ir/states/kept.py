"""What a plan keeps from one inference to the next, for summaries."""

from dataclasses import dataclass

from ullage.compiler.common.units import counted, format_size, listed
from ullage.compiler.ir.plan import Plan


@dataclass(frozen=True)
class KeptState:
    """A tensor that lives from one inference to the next.

    Attributes:
        input: the model's input that it is before an inference.
        output: the model's output that it is after one.
        bytes: its size after an inference.
        written_bytes: what an inference writes of it, at most.
    """

    input: str
    output: str
    bytes: int
    written_bytes: int


def kept_states(plan: Plan) -> tuple[KeptState, ...]:
    """The states of a plan, in the order in which the model's pairs were given or found."""
    problem = plan.problem
    places = {value.name: b for b, buffer in enumerate(problem.buffers) for value in buffer.values}
    kept: list[KeptState] = []
    for source, result in plan.model.get("state") or ():
        buffer = places[result]
        written = sum(u.accessed_bytes for _, u in problem.uses_of[buffer] if u.write)
        kept.append(KeptState(source, result, problem.buffers[buffer].size_bytes, written))
    return tuple(kept)


def state_text(plan: Plan) -> str:
    """A line about them; empty where there are none."""
    kept = kept_states(plan)
    if not kept:
        return ""
    names = listed([f"{one.input}={one.output}" for one in kept], 3)
    return (
        f"{counted(len(kept), 'tensor')} in place, {format_size(sum(s.bytes for s in kept))} once, "
        f"an inference writes {format_size(sum(s.written_bytes for s in kept))}: {names}"
    )
