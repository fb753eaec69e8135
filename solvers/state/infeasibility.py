"""The error for operands that do not fit into the fastest tier: figures, tensors, remedies."""

from collections.abc import Iterable, Mapping, Sequence

from ullage.compiler.common.dtypes import FLOATS, bits_of
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size, told_apart
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Target
from ullage.solvers.state.segments import Segment

# Number of tensors that the message names, largest first.
SHOWN = 5
# The option that makes floating-point data smaller.
SMALLER = "--dtype int8"
# Why no plan can do with less.
WHOLE_OPERATORS = "Operators run whole here, so the operator that needs most decides"
SOME_PARTS = "No smaller part of it is in this schedule"
RUNS_WHOLE = "It runs whole in this schedule, where others run in parts"


def capacity_option(target: Target, tier: str, size_bytes: int) -> str:
    """The option that gives a tier another capacity: `--fast-memory` where it is the fastest.

    Args:
        target: the chip.
        tier: the tier's name.
        size_bytes: the capacity.
    """
    if tier == target.fastest.name:
        return f"--fast-memory {size_bytes}"
    return f"--set tiers.{tier}.capacity_bytes={size_bytes}"


def capacity_options(target: Target, sizes_bytes: Mapping[str, int]) -> str:
    """The options that give several tiers other capacities, by name; the fastest first."""
    return " ".join(
        capacity_option(target, tier.name, sizes_bytes[tier.name])
        for tier in target.tiers
        if tier.name in sizes_bytes
    )


def link_option(problem: Problem, home: str) -> str:
    """What to do where no link joins a home tier with the fastest one: the end of a sentence.

    Another home is named where the target has a tier with links in both directions (in one, if
    weights alone are meant) and room for every tensor that is at home in the tier without them.

    Args:
        problem: the problem.
        home: the tier without a link to the fastest, or from it.
    """
    other = other_home(problem, home)
    if other is None:
        return "add one to the target's `links`"
    return f"add one to the target's `links`, or choose a home that has them ({other})"


def other_home(problem: Problem, home: str) -> str | None:
    """The options that give all that is at home in a tier a home with links and room, or None.

    Args:
        problem: the problem.
        home: the tier; where weights alone are at home there, links that store are not asked for.
    """
    target, fastest = problem.target, problem.target.fastest.name
    kinds = [kind for kind, name in target.homes.items() if name == home]
    needed = sum(b.size_bytes for b in problem.buffers if target.home(b.kind).name == home)
    stored = kinds != ["weight"]
    for tier in target.tiers[1:]:
        joined = target.link(tier.name, fastest) is not None
        if stored:
            joined &= target.link(fastest, tier.name) is not None and not tier.read_only
        if joined and tier.name != home and needed <= tier.capacity_bytes:
            return " ".join(f"--set homes.{kind}={tier.name}" for kind in kinds)
    return None


def step_refusal(
    problem: Problem,
    step: int,
    needed_bytes: int,
    present: Sequence[Segment],
    tiers: Sequence[str] = (),
) -> InfeasibleError:
    """The error for a step whose mandatory operands and workspace exceed the memory for them.

    Args:
        problem: the problem.
        step: the step.
        needed_bytes: bytes that it needs there: aligned, but for what lies on top; with workspace.
        present: segments that must be there.
        tiers: the tiers in which operators reach them; none: the fastest.
    """
    target = problem.target
    names = tiers or (target.fastest.name,)
    available = sum(target.tier(name).capacity_bytes for name in names)
    proven = needed_bytes > available
    last = target.tier(names[-1])  # what is missing is missing there, beside all of the others
    where = problem.steps[step]
    sizes: dict[str, int] = {}
    for segment in present:  # a tensor of several segments counts once, with all of them
        name = problem.buffers[segment.buffer].name
        sizes[name] = sizes.get(name, 0) + segment.size_bytes
    if where.workspace_bytes and target.fastest.name in names:
        sizes[f"workspace of {where.name}"] = where.workspace_bytes
    here = sorted(sizes.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} ({format_size(size)})" for name, size in here[:SHOWN])
    more = capacity_option(target, last.name, last.capacity_bytes + needed_bytes - available)
    remedies = {more: "give it more"}
    if not problem.program.is_cut:
        parts = {"--schedule cascade": "run it in parts"}
        if not target.tile_axes:
            parts = {"--set tiles.allowed=true": "run it in parts if the chip can"}
        remedies = parts | remedies
    less = smaller_data(
        [where] if where.macs else problem.steps,
        needed_bytes,
        available,
        fixed_bytes=needed_bytes - sum(segment.size_bytes for segment in present),
    )
    remedies |= less
    if target.operand_access == "fastest":
        freed = "--set operand_access=any"
        if target.weights_in_fastest:  # which says nothing any more then, and is refused
            freed += " --set weights_in_fastest=false"
        remedies[freed] = "let operands stay in slower memory if the chip can"
    advice = ", or ".join(f"{what} ({option})" for option, what in remedies.items())
    takes, there, excess = told_apart(needed_bytes, available, needed_bytes - available)
    verdict = "cannot run" if proven else "found no room"
    return InfeasibleError(
        f"step {step} ({where.kind} {where.name!r}) {verdict} on {target.name}: what it needs in "
        f"{' or '.join(names)} takes {takes}, available {there}, excess {excess}; largest: "
        f"{listed}. {_why(problem, where)}. To do: {advice}",
        {
            "tier": last.name,
            "needed_bytes": last.capacity_bytes + needed_bytes - available,
            "available_bytes": last.capacity_bytes,
            "excess_bytes": needed_bytes - available,
            "step": step,
            "operator": where.name,
            "largest_tensors": [{"tensor": name, "bytes": size} for name, size in here[:SHOWN]],
            "remedies": list(remedies),
            "proven": proven,
        },
    )


def _why(problem: Problem, step: Step) -> str:
    """Why a step needs as much: what of its operator it runs, in which kind of schedule."""
    if step.ranges:
        return SOME_PARTS
    return RUNS_WHOLE if problem.program.is_cut else WHOLE_OPERATORS


def padding_on_top(sizes_bytes: Iterable[int], alignment_bytes: int) -> int:
    """Most bytes of padding that aligned blocks can do without: behind the one that lies on top."""
    return max((-size % alignment_bytes for size in sizes_bytes), default=0)


def smaller_data(
    steps: Iterable[Step], needed_bytes: int, available_bytes: int, *, fixed_bytes: int = 0
) -> dict[str, str]:
    """The remedy of 8-bit data, what it is for by its option; empty where none are wider floats.

    Args:
        steps: the steps whose data are too large.
        needed_bytes: what is needed now.
        available_bytes: what there is.
        fixed_bytes: the part of what is needed that is no data: padding, workspace.
    """
    floats = [step.mac_dtype for step in steps if step.macs and step.mac_dtype in FLOATS]
    bits = max(map(bits_of, floats), default=8)
    if bits <= 8:
        return {}
    least = fixed_bytes + -(-(needed_bytes - fixed_bytes) * 8 // bits)
    if least <= available_bytes:
        return {SMALLER: "plan smaller data"}
    return {SMALLER: f"plan smaller data, which alone still takes about {format_size(least)}"}
