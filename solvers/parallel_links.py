"""Reduction: several links between the same two tiers (DMA queues) become one for the solvers.

Latencies, bursts and outstanding requests become rates and set-ups first (`Target.as_served`).

A link with a name of its own counts as well: to solvers a link is a pair of tiers. `reduce` merges
them into one link of their bandwidths together, whose set-up no plan can undercut: for any split of
n transfers and B bytes over links of bandwidth w (W together) and set-up s, max over links of
(set-ups + bytes / w) >= n * min(w * s / W) + B / W. So a bound of the reduced problem is one of the
problem. `recover` gives every transfer of a plan its link again: cut in proportion to the
bandwidths where the target cuts, or each to the link that is least busy in its steps; the better of
the two by the cost model.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Target
from ullage.hwmodels.cost import value_of
from ullage.hwmodels.resources import Resources, resources
from ullage.solvers.interface import Solution

Ways = dict[tuple[str, str], tuple[Link, ...]]


def is_needed(target: Target) -> bool:
    """Whether links are parallel or have names of their own, or latencies and bursts count."""
    ways = _ways(target)
    return (
        len(ways) < len(target.links)
        or target.as_served is not target
        or any(link.name != _unnamed(link).name for link in target.links)
    )


def reduce(problem: Problem) -> Problem:
    """The problem with one link for each pair of tiers; itself where it has no more."""
    target = problem.target
    if not is_needed(target):
        return problem
    served = target.as_served
    links = tuple(_merged(links) for links in _ways(served).values())
    return problem.on(replace(served, links=links))


def recover(problem: Problem, solution: Solution) -> Solution:
    """A solution of the reduced problem as one of the problem; itself where nothing was reduced.

    Args:
        problem: the problem with its parallel links.
        solution: of the reduced problem; program and capacity of the fastest tier are taken over.
    """
    if not is_needed(problem.target):
        return solution
    reduced = solution.assignment
    target = problem.target.with_fast_memory(reduced.target.fastest.capacity_bytes)
    whole = replace(reduced, problem=replace(reduced.problem, target=target))
    candidates = [_spread(whole)]
    if target.split_operands and target.slice_granularity_bytes:
        candidates.append(_cut(whole))
    return replace(solution, assignment=min(candidates, key=value_of))


def _ways(target: Target) -> Ways:
    """The links between each pair of tiers."""
    ways: Ways = {}
    for link in target.links:
        ends = link.source, link.destination
        ways[ends] = (*ways.get(ends, ()), link)
    return ways


def _merged(links: tuple[Link, ...]) -> Link:
    """Parallel links as one link that is at least as good as any use of them."""
    first, rate = links[0], sum(link.bandwidth_bytes_per_s for link in links)
    if len(links) == 1:
        return _unnamed(first)
    return Link(
        first.source,
        first.destination,
        rate,
        min(link.setup_s * link.bandwidth_bytes_per_s / rate for link in links),
        min(link.energy_j_per_byte for link in links),
    )


def _unnamed(link: Link) -> Link:
    """A link under the name that one without a name of its own has."""
    return replace(link, name=f"{link.source}->{link.destination}")


def _spread(plan: Assignment) -> Assignment:
    """Each transfer whole on one link: large ones first, each where its steps are least busy."""
    table = resources(plan.problem)
    ways = _ways(plan.target)
    busy = np.zeros((len(table.links), len(plan.problem.steps)))
    links: dict[int, str] = {}
    transfers = plan.transfers
    by_size = sorted(range(len(transfers)), key=lambda i: _size(transfers[i]), reverse=True)
    for index in by_size:
        transfer = transfers[index]
        rows = [table.link_index[k.name] for k in ways[transfer.source, transfer.destination]]
        best = min(rows, key=lambda row: _busy_after(table, busy, row, transfer))
        _add(table, busy, best, transfer)
        links[index] = table.links[best]
    named = tuple(replace(transfer, link=links[i]) for i, transfer in enumerate(transfers))
    return replace(plan, transfers=named)


def _busy_after(table: Resources, busy: np.ndarray, row: int, transfer: Transfer) -> float:
    """Seconds that a link would be busy in the steps of a transfer."""
    seconds = float(table.setup_s[row])
    for step, size in transfer.moves:
        seconds += float(busy[row, step]) + size / float(table.move_rate[row])
    return seconds


def _add(table: Resources, busy: np.ndarray, row: int, transfer: Transfer) -> None:
    busy[row, transfer.moves[0][0]] += table.setup_s[row]
    for step, size in transfer.moves:
        busy[row, step] += size / table.move_rate[row]


def _cut(plan: Assignment) -> Assignment:
    """Each transfer in parts, one for each link, in proportion to their bandwidths."""
    ways = _ways(plan.target)
    parts: list[Transfer] = []
    for transfer in plan.transfers:
        links = ways[transfer.source, transfer.destination]
        parts += _parts(transfer, links, plan.target.slice_granularity_bytes)
    return replace(plan, transfers=tuple(parts))


def _parts(transfer: Transfer, links: tuple[Link, ...], grain: int) -> Iterator[Transfer]:
    """The parts of a transfer, cut at multiples of the grain; links without a part are left out."""
    whole = sum(link.bandwidth_bytes_per_s for link in links)
    begin, rate = transfer.start_byte, 0.0
    for link in links:
        rate += link.bandwidth_bytes_per_s
        end = transfer.start_byte + round(_size(transfer) * rate / whole)
        end = transfer.end_byte if link is links[-1] else end // grain * grain
        if end <= begin:
            continue
        low, high = begin - transfer.start_byte, end - transfer.start_byte
        moves = _moves_of_part(transfer, low, high)
        yield replace(transfer, start_byte=begin, end_byte=end, moves=moves, link=link.name)
        begin = end


def _moves_of_part(transfer: Transfer, low: int, high: int) -> tuple[tuple[int, int], ...]:
    """Moves of the bytes [low, high) of a transfer, in every step their share of its bytes."""
    size, moved, done = _size(transfer), 0, 0
    moves: list[tuple[int, int]] = []
    for step, count in transfer.moves:
        moved += count
        reached = (high - low) * moved // size
        if reached > done:
            moves.append((step, reached - done))
        done = reached
    return tuple(moves)


def _size(transfer: Transfer) -> int:
    return transfer.end_byte - transfer.start_byte
