"""The error for operands that do not fit into the fastest tier: figures, tensors, remedies."""

from collections.abc import Sequence

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.segments import Segment

# Number of tensors that the message names, largest first.
SHOWN = 5


def step_refusal(
    problem: Problem, step: int, needed_bytes: int, present: Sequence[Segment]
) -> InfeasibleError:
    """The error for a step whose mandatory operands and workspace exceed the fastest tier.

    Args:
        problem: the problem.
        step: the step.
        needed_bytes: bytes that it needs in the fastest tier, aligned, workspace included.
        present: segments that must be there.
    """
    target = problem.target
    available = target.fastest.capacity_bytes
    where = problem.steps[step]
    here = [(problem.buffers[segment.buffer].name, segment.size_bytes) for segment in present]
    if where.workspace_bytes:
        here.append((f"workspace of {where.name}", where.workspace_bytes))
    here.sort(key=lambda item: -item[1])
    listed = ", ".join(f"{name} ({format_size(size)})" for name, size in here[:SHOWN])
    remedies = {
        f"--fast-memory {needed_bytes}": "give it more",
        "--dtype int8": "plan smaller data",
    }
    if target.operand_access == "fastest":
        remedies["--set operand_access=any"] = "let operands stay in slower memory if the chip can"
    advice = ", or ".join(f"{what} ({option})" for option, what in remedies.items())
    return InfeasibleError(
        f"step {step} ({where.kind} {where.name!r}) cannot run on {target.name}: what it needs in "
        f"{target.fastest.name} takes {format_size(needed_bytes)}, available "
        f"{format_size(available)}, excess {format_size(needed_bytes - available)}; largest: "
        f"{listed}. To do: {advice}",
        {
            "tier": target.fastest.name,
            "needed_bytes": needed_bytes,
            "available_bytes": available,
            "excess_bytes": needed_bytes - available,
            "step": step,
            "operator": where.name,
            "largest_tensors": [{"tensor": name, "bytes": size} for name, size in here[:SHOWN]],
            "remedies": list(remedies),
        },
    )
