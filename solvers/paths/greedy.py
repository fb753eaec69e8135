"""Plans where operands must be brought to where operators reach them, without a linear program.

Every operand begins on the streaming way: it comes just before each use and goes just after. Large
ones are cut into pieces, so that each can come at a time of its own. Then piece after piece, each
is taken out of the plan and put where it costs least beside all others: fetched earlier, while
something else is computed, kept until its next use, stored later (coordinate descent; `polish`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths.improve import improved, is_enough, keep_free
from ullage.solvers.paths.network import PathPrices, needs_detour
from ullage.solvers.paths.paths import ALL_TIERS, Path
from ullage.solvers.paths.plan import NoAddress
from ullage.solvers.paths.setting import TieredProblem, tiered_problem
from ullage.solvers.paths.slices import Slice, Slicer, part_of
from ullage.solvers.paths.streaming import (
    assignment_of,
    stays_where_there_is_room,
    streaming,
)

# Bytes of a piece, where memory is large ...
PIECE_BYTES = 32 << 10
# ... and its share of the fastest tier, or of all data, where that is small.
PIECE_SHARE = 1 / 48
# Number of pieces, about, of a program with so many bytes that pieces must be larger.
MOST_PIECES = 1500
# How many times longer than its set-up a piece takes to move, at least: small pieces find idle time
# everywhere, and share set-ups where they move together; ...
PIECE_SETUPS = 0.5
# ... over several links nothing moves on before all that is joined has arrived.
CHAIN_PIECE_SETUPS = 16.0
# In steady state, shares of the fastest tier that weights kept from the start leave free, so that
# others can be fetched in time.
FREE_SHARES = (0.0, 0.1, 0.2)
# In steady state, what a byte's space in the fastest tier at all steps counts among equal plans, as
# a share of the time in which a link moves a byte.
SPACE_TIE_BREAK = 1e-3
# Share of a plan's value that its set-ups take from which on whole segments are tried as well.
SETUPS_COUNT = 0.05
# How often fewer weights are kept where some found no address.
KEEP_TRIES = 4
# Steps up to which weights are kept in steady state where operators reach them at home as well.
MOST_STREAMING_STEPS = 3000
# Order of segments: (tiered problem, segment) -> sort key.
Rank = Callable[[TieredProblem, int], tuple[float, ...]]


def brings_operands(problem: Problem) -> bool:
    """Whether plans of pieces are the way: operands come over several links, or must, in pieces."""
    target = problem.target
    return needs_detour(target) or (target.dma_steps.between > 0 and target.split_operands)


def by_first_use(tiered: TieredProblem, index: int) -> tuple[float, ...]:
    """Segments in the order in which operators first use them."""
    live_range = tiered.live_ranges[index]
    assert live_range is not None  # noqa: S101 - only segments with a live range have slices
    return (float(live_range.steps[0]) if len(live_range.steps) else 0.0, float(index))


def by_bytes_per_use(tiered: TieredProblem, index: int) -> tuple[float, ...]:
    """Segments by the bytes that their uses move, per step of their live range, most first."""
    live_range = tiered.live_ranges[index]
    assert live_range is not None  # noqa: S101 - only segments with a live range have slices
    used = live_range.size_bytes * len(live_range.steps)
    return (-used / max(1, live_range.end - live_range.begin), float(index))


def solution_of_pieces(
    problem: Problem, ranks: Sequence[Rank], budget: Budget, whole: Callable[[], Solution]
) -> Solution:
    """`plan_of_pieces` where that is the way, else the solution whose segments stay whole.

    They do, too, where pieces found no room although no operator is too large: whole segments may
    lie more densely. In steady state weights are kept from one inference to the next by
    `plan_of_pieces` only (XLA's cross-program prefetch): the better of both is taken. Programs of
    many steps in which operators reach operands at home are left to the other one.

    Args:
        problem: the problem.
        ranks: orders in which segments are tried; see `plan_of_pieces`.
        budget: the time.
        whole: makes the solution whose segments stay whole.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    if brings_operands(problem):
        try:
            found = plan_of_pieces(problem, ranks, budget)
        except InfeasibleError as error:
            if error.details.get("proven", True) or needs_detour(problem.target):
                raise
            return whole()
        return Solution(found, stop_reason="time limit" if budget.is_over() else "finished")
    solution = whole()
    is_long = not problem.target.dma_steps.between and len(problem.steps) > MOST_STREAMING_STEPS
    if not problem.steady_state or is_long:
        return solution
    if budget.is_over():
        return replace(solution, stop_reason="time limit")
    try:
        kept = plan_of_pieces(problem, ranks, budget)
    except InfeasibleError:  # the streaming plan it begins with has no room for whole operands
        return solution
    if value_of(kept) >= value_of(solution.assignment):
        return replace(solution, stop_reason="time limit") if budget.is_over() else solution
    return Solution(kept, stop_reason="time limit" if budget.is_over() else "finished")


def plan_of_pieces(problem: Problem, ranks: Sequence[Rank], budget: Budget) -> Assignment:
    """A plan by coordinate descent over pieces; see the module's description.

    Args:
        problem: the problem.
        ranks: orders in which segments are tried: the first; where its plan is not near enough to a
            simple bound, another descent from the streaming plan in the second, and so on. Steady
            state, which takes several descents in any order, has the first only.
        budget: the time; when it is over, what is decided is legal.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    tiered = tiered_problem(problem, budget)
    slicer, reference = streaming(tiered)
    if budget.is_over():
        return reference
    reference = stays_where_there_is_room(tiered, slicer, reference, budget.is_over)
    if budget.is_over():
        return reference
    streamed = {index: list(items) for index, items in slicer.items.items()}
    pieces = _pieces(tiered, slicer)
    found = _descent(tiered, slicer, pieces, reference, ranks[0], budget)
    for other_rank in ranks[1:]:
        if problem.steady_state or budget.is_over() or is_enough(problem, found):
            break
        slicer.ledger.reset_room()
        other = _descent(tiered, slicer, pieces, reference, other_rank, budget)
        found = min(found, other, key=value_of)
    are_cut = any(len(pieces[index]) > len(items) for index, items in streamed.items())
    if (
        are_cut
        and _setups_count(tiered, found)
        and not (budget.is_over() or is_enough(problem, found))
    ):
        slicer.ledger.reset_room()
        other = _descent(tiered, slicer, streamed, reference, ranks[0], budget)
        found = min(found, other, key=value_of)
    return found


def _setups_count(tiered: TieredProblem, plan: Assignment) -> bool:
    """Whether in steady state fewer, larger transfers may be worth more than pieces are."""
    network = tiered.network
    if not (network.problem.steady_state and network.is_timed):
        return False
    names = [tier.name for tier in network.target.tiers]
    links = [(names[a], names[b]) for a, b in network.links.tolist()]
    setup_of = dict(zip(links, network.setups_s.tolist(), strict=True))
    seconds = sum(setup_of[transfer.source, transfer.destination] for transfer in plan.transfers)
    return bool(seconds > SETUPS_COUNT * value_of(plan))


def _descent(
    tiered: TieredProblem,
    slicer: Slicer,
    pieces: Mapping[int, Sequence[Slice]],
    reference: Assignment,
    rank: Rank,
    budget: Budget,
) -> Assignment:
    """The plan that coordinate descent finds from certain pieces on.

    Args:
        tiered: the problem.
        slicer: its slices are replaced.
        pieces: segment -> its pieces on the streaming way.
        reference: a legal plan, in case the pieces have no addresses.
        rank: order in which segments are tried.
        budget: the time.
    """
    problem, is_over = tiered.network.problem, budget.is_over
    if is_over():
        return reference
    slicer.place(pieces)
    order = sorted(slicer.items, key=lambda index: rank(tiered, index))
    try:
        start = assignment_of(tiered, slicer)
    except NoAddress as refused:  # pieces lie less densely than whole operands
        for residency in refused.residencies:
            keep_free(slicer, residency, 1)
        start = reference
    # What small tiers keep from the start leaves no room to fetch the rest in time.
    slicer.carries = tiered.uncapacitated
    streamed = {index: list(items) for index, items in slicer.items.items()}
    found = improved(tiered, slicer, order, start, budget)
    if not problem.steady_state:
        return found
    slicer.carries = ALL_TIERS
    if not is_over():
        slicer.space_prices[0] = _tie_break_of_space(tiered)
        found = min(found, improved(tiered, slicer, order, found, budget), key=value_of)
        slicer.space_prices[0] = 0.0
    if not is_over():
        found = min(found, improved(tiered, slicer, order, found, budget), key=value_of)
    capacity_bytes = problem.target.fastest.capacity_bytes
    for share in FREE_SHARES:
        if is_over() or is_enough(problem, found):
            break
        reserved_bytes = int(share * capacity_bytes)
        kept = _with_weights_kept(tiered, slicer, streamed, reserved_bytes, is_over)
        if kept is None:
            break
        slicer.carries = tiered.uncapacitated
        kept = improved(tiered, slicer, order, kept, budget)
        slicer.carries = ALL_TIERS
        found = min(found, improved(tiered, slicer, order, kept, budget), key=value_of)
    return found


def _tie_break_of_space(tiered: TieredProblem) -> float:
    """Price of a byte of the fastest tier for one step by which equal plans differ: 0 if untimed.

    So little that a byte kept for all steps costs a small share of what waiting for it costs. What
    can be fetched beside computing anyway is then not kept, and its room is free for what would be
    waited for, and for fetching in time.
    """
    network = tiered.network
    into = network.links[:, 1] == 0
    if not (network.is_timed and into.any()):
        return 0.0
    return SPACE_TIE_BREAK / float(network.link_rates[into].max()) / network.steps


def _with_weights_kept(
    tiered: TieredProblem,
    slicer: Slicer,
    streamed: Mapping[int, Sequence[Slice]],
    reserved_bytes: int,
    is_over: Callable[[], bool],
) -> Assignment | None:
    """The streaming plan with weights kept for all inferences; None where none can be.

    What fits by its bytes may find no address: then fewer are kept.

    Args:
        tiered: the problem.
        slicer: its slices are replaced.
        streamed: pieces on the streaming way.
        reserved_bytes: as of `_keep_weights`.
        is_over: whether the time is over; no more are kept then.
    """
    slicer.ledger.reset_room()  # what was left free before may have room for weights
    for _ in range(KEEP_TRIES):
        slicer.place(streamed)
        if not _keep_weights(tiered, slicer, reserved_bytes, is_over):
            return None
        try:
            return assignment_of(tiered, slicer)
        except NoAddress as refused:
            reserved_bytes += max(residency.size_bytes for residency in refused.residencies)
    return None


def _keep_weights(
    tiered: TieredProblem, slicer: Slicer, reserved_bytes: int, is_over: Callable[[], bool]
) -> int:
    """Keep pieces of weights for all inferences, where they have room beside all that streams.

    While an operator runs, what is kept of its own weights takes no more room than they do anyway.
    Small pieces are kept first: each saves a set-up, however small it is.

    Args:
        tiered: the problem.
        slicer: with its pieces on the streaming way; is changed.
        reserved_bytes: of the fastest tier, which kept weights leave free at all steps, so that
            others can be fetched beside computing.
        is_over: whether the time is over; no more pieces are kept then.

    Returns:
        How many pieces are kept.
    """
    ledger = slicer.ledger
    whole_room = ledger.room[0].copy()
    ledger.room[0] = np.maximum(whole_room - reserved_bytes, ledger.load[0])
    kept = 0
    pieces: list[tuple[int, int, int]] = []  # (bytes, segment, number)
    for index, items in slicer.items.items():
        live_range = tiered.live_ranges[index]
        if live_range is None or not live_range.is_loop_carried or not len(live_range.steps):
            continue
        pieces += [(item.end_byte - item.start_byte, index, n) for n, item in enumerate(items)]
    for _, index, number in sorted(pieces):
        if is_over():
            break
        item = slicer.items[index][number]
        path = _pinned(tiered, slicer, item)
        if path is None:
            continue
        other = replace(item, path=path)
        ledger.book(item, -1)
        fits = ledger.fits(other)
        ledger.book(other if fits else item)
        if fits:
            slicer.items[index][number] = other
            kept += 1
    ledger.room[0] = whole_room
    return kept


def _pinned(tiered: TieredProblem, slicer: Slicer, item: Slice) -> Path | None:
    """The path of a piece that never leaves the fastest tier; None where there is none."""
    network = tiered.network
    live_range = slicer.live_ranges[item.segment]
    assert live_range is not None  # noqa: S101 - only segments with a live range have slices
    size = item.end_byte - item.start_byte
    free = np.zeros((network.tiers, network.steps))
    move = np.full((network.tiers, network.tiers, network.steps), np.inf)
    move[network.links[:, 0], network.links[:, 1]] = 1.0
    prices = PathPrices(free, move, np.zeros_like(move), free, free)
    _, path = slicer.finder.cheapest(part_of(live_range, size), prices, exact=True)
    return path if path is not None and path.loop_carried & 1 else None


def _pieces(tiered: TieredProblem, slicer: Slicer) -> dict[int, Sequence[Slice]]:
    """The slices of the streaming plan, cut into pieces where the target cuts operands."""
    network = tiered.network
    setups = CHAIN_PIECE_SETUPS if needs_detour(network.target) else PIECE_SETUPS
    setup_bytes = network.setups_s * network.link_rates * setups
    program = network.problem.program
    useful = min(network.target.fastest.capacity_bytes, program.data_bytes)
    small = int(useful * PIECE_SHARE)
    total = sum(tiered.segments[index].size_bytes for index in slicer.items)
    wanted = max(
        min(PIECE_BYTES, small), int(setup_bytes.max(initial=0.0)), total // MOST_PIECES, 1
    )
    pieces: dict[int, Sequence[Slice]] = {}
    for index, items in slicer.items.items():
        grain = slicer.grains[index]
        cut = [p for item in items for p in _cut(item, grain, wanted)] if grain else items
        pieces[index] = list(cut)
    return pieces


def _cut(item: Slice, grain: int, wanted: int) -> list[Slice]:
    """A slice in pieces of about the same size, cut at multiples of the grain in its buffer."""
    count = max(1, round((item.end_byte - item.start_byte) / wanted))
    even = np.linspace(item.start_byte, item.end_byte, count + 1)[1:-1]
    cuts = np.unique(np.round(even / grain).astype(np.int64) * grain).tolist()
    inside = [cut for cut in cuts if item.start_byte < cut < item.end_byte]
    ends = [*inside, item.end_byte]
    return [
        replace(item, start_byte=low, end_byte=high)
        for low, high in zip([item.start_byte, *inside], ends, strict=True)
    ]
