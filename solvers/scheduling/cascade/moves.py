"""Changes of groups that the local search tries."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.reach import REDUCTION
from ullage.solvers.scheduling.cascade.estimate import AXES, STRIPES, OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade

Groups = list[Cascade]
# Operators of a new group at most.
NEW_GROUP = 8
# Chance of a move that runs operators again, or no longer.
AGAIN_CHANCE = 0.08
# Operators that a group runs again at most.
MOST_AGAIN = 3
# Shares of the stripes of such a group that find there what the others make again.
FOUND_SHARES = (0.0, 0.25, 0.5, 0.75)
# Numbers of blocks that are tried.
BLOCKS = (1, 2, 3, 4, 6, 8)


def random_move(
    facts: OrderFacts,
    groups: Sequence[Cascade],
    at: int,
    rng: np.random.Generator,
    *,
    again: bool = True,
) -> Groups | None:
    """Other groups near one of them; None where the move that was drawn changes nothing.

    Args:
        facts: the graph in its order.
        groups: its groups.
        at: which of them.
        rng: draws.
        again: groups may run operators again.
    """
    if again and rng.random() < AGAIN_CHANCE:
        return _made_again(facts, list(groups), at, rng)
    moves = (
        _other_stripes,
        _other_axis,
        _merged,
        _split,
        _grown,
        _shrunk,
        _new_group,
        _other_blocks,
    )
    chances = (0.2, 0.1, 0.15, 0.1, 0.12, 0.12, 0.13, 0.08)
    move = moves[int(rng.choice(len(moves), p=chances))]
    return move(facts, list(groups), at, rng)


def _axes(facts: OrderFacts, last: int) -> dict[int, int]:
    """Length by axis of the axes along which the operator before position `last` can be cut."""
    operator = facts.operator(last - 1)
    if operator.reach is None:
        return {}
    shape = facts.graph.values[operator.outputs[0]].shape
    axes = {
        axis: size
        for axis, size in enumerate(shape)
        if size > 1 and operator.reach.axes[axis] != "none"
    }
    axes = dict(list(axes.items())[:AXES])
    if operator.reach.reduction > 1:
        axes[REDUCTION] = operator.reach.reduction
    return axes


def _with_stripes(
    facts: OrderFacts,
    first: int,
    last: int,
    stripes: int,
    axis: int | None,
    rng: np.random.Generator,
) -> Groups | None:
    """A group of these positions; operators one by one where there is one stripe."""
    if stripes <= 1:
        return [Cascade(p, p + 1) for p in range(first, last)]
    axes = _axes(facts, last)
    if not axes:
        return None
    chosen = axis
    if chosen not in axes:
        chosen = list(axes)[int(rng.integers(len(axes)))]
    return [Cascade(first, last, min(stripes, axes[chosen]), chosen)]


def _other_stripes(
    facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator
) -> Groups | None:
    group = groups[at]
    ladder = (1, *STRIPES)
    place = min(range(len(ladder)), key=lambda i: abs(ladder[i] - group.stripes))
    step = int(rng.choice((-2, -1, 1, 2)))
    other = ladder[min(len(ladder) - 1, max(0, place + step))]
    if other == group.stripes:
        return None
    axis = group.axis if group.stripes > 1 else None
    made = _with_stripes(facts, group.first, group.last, other, axis, rng)
    return None if made is None else _replaced(groups, at, made)


def _replaced(groups: Groups, at: int, made: Groups) -> Groups:
    """Groups with others in place of one of them; one in its place keeps its blocks."""
    old = groups[at]
    if len(made) == 1 and old.blocks > 1 and made[0].axis != old.block_axis:
        made = [replace(made[0], blocks=old.blocks, block_axis=old.block_axis)]
    return groups[:at] + made + groups[at + 1 :]


def _other_axis(
    facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator
) -> Groups | None:
    group = groups[at]
    others = [a for a in _axes(facts, group.last) if a != group.axis or group.stripes == 1]
    if not others:
        return None
    stripes = group.stripes if group.stripes > 1 else int(rng.choice(STRIPES[:6]))
    axis = others[int(rng.integers(len(others)))]
    made = _with_stripes(facts, group.first, group.last, stripes, axis, rng)
    return None if made is None else _replaced(groups, at, made)


def _other_blocks(
    facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator
) -> Groups | None:
    """Other blocks, of the same axis or of another."""
    group = groups[at]
    axes = _axes(facts, group.last)
    others = [a for a in axes if a not in (group.axis, REDUCTION)]
    if not others or group.stripes == 1:
        return None
    axis = group.block_axis
    if group.blocks == 1 or axis not in others:
        axis = others[int(rng.integers(len(others)))]
    blocks = min(axes[axis], int(rng.choice([b for b in BLOCKS if b != group.blocks])))
    if blocks == 1:
        axis = 0
    return [
        *groups[:at],
        replace(group, blocks=blocks, block_axis=axis, inner=()),
        *groups[at + 1 :],
    ]


def _made_again(
    facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator
) -> Groups | None:
    """Other operators that a group runs again: a large value that it reads, and what leads to it.

    A group that does so already stops, or finds more or less of it there.
    """
    group = groups[at]
    if not group.is_cut or group.blocks > 1 or group.inner:
        return None
    if group.again and rng.random() < 0.5:
        shares = [s for s in FOUND_SHARES if int(s * group.stripes) != group.found]
        found = int(float(rng.choice(shares)) * group.stripes)
        return [*groups[:at], replace(group, found=found), *groups[at + 1 :]]
    if group.again:
        return [*groups[:at], replace(group, again=(), found=0), *groups[at + 1 :]]
    sizes = {
        facts.maker[name]: facts.size(name)
        for position in range(group.first, group.last)
        for name in facts.operator(position).inputs
        if facts.maker.get(name, group.first) < group.first
    }
    if not sizes:
        return None
    weights = np.array(list(sizes.values()), dtype=np.float64) + 1.0
    chain = [list(sizes)[int(rng.choice(len(weights), p=weights / weights.sum()))]]
    for _ in range(int(rng.integers(MOST_AGAIN))):
        before = [facts.maker[n] for n in facts.operator(chain[0]).inputs if n in facts.maker]
        if not before:
            break
        chain.insert(0, max(before))
    found = int(float(rng.choice(FOUND_SHARES)) * group.stripes)
    again = replace(group, again=tuple(sorted(set(chain))), found=found)
    return [*groups[:at], again, *groups[at + 1 :]]


def _merged(facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator) -> Groups | None:
    if at + 1 >= len(groups):
        return None
    one, other = groups[at], groups[at + 1]
    stripes = max(one.stripes, other.stripes, 2)
    axis = other.axis if other.stripes > 1 else None
    made = _with_stripes(facts, one.first, other.last, stripes, axis, rng)
    return None if made is None else groups[:at] + made + groups[at + 2 :]


def _split(facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator) -> Groups | None:
    group = groups[at]
    if group.last - group.first < 2 or not group.is_cut:
        return None
    middle = int(rng.integers(group.first + 1, group.last))
    front = _with_stripes(facts, group.first, middle, group.stripes, None, rng)
    if front is None:
        return None
    return [*groups[:at], *front, replace(group, first=middle), *groups[at + 1 :]]


def _grown(facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator) -> Groups | None:
    """Take an operator from the group in front or behind."""
    group = groups[at]
    if not group.is_cut:
        return None
    if rng.random() < 0.5 and at > 0:
        front = groups[at - 1]
        rest: Groups | None = []
        if front.last - front.first > 1:
            rest = _with_stripes(facts, front.first, front.last - 1, front.stripes, None, rng)
        if rest is None:
            return None
        grown = replace(group, first=group.first - 1, inner=())
        return [*groups[: at - 1], *rest, grown, *groups[at + 1 :]]
    if at + 1 >= len(groups):
        return None
    behind = groups[at + 1]
    made = _with_stripes(facts, group.first, group.last + 1, group.stripes, group.axis, rng)
    if made is None:
        return None
    rest = []
    if behind.last - behind.first > 1:
        rest = [replace(behind, first=behind.first + 1)]
    return [*groups[:at], *made, *rest, *groups[at + 2 :]]


def _shrunk(facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator) -> Groups | None:
    """Give the first or the last operator of a group its own."""
    group = groups[at]
    if not group.is_cut or group.last - group.first < 2:
        return None
    if rng.random() < 0.5:
        rest = replace(group, first=group.first + 1)
        return [*groups[:at], Cascade(group.first, group.first + 1), rest, *groups[at + 1 :]]
    made = _with_stripes(facts, group.first, group.last - 1, group.stripes, group.axis, rng)
    if made is None:
        return None
    return [*groups[:at], *made, Cascade(group.last - 1, group.last), *groups[at + 1 :]]


def _new_group(
    facts: OrderFacts, groups: Groups, at: int, rng: np.random.Generator
) -> Groups | None:
    """Several groups that follow one another as one."""
    count = int(rng.integers(2, NEW_GROUP + 1))
    begin = max(0, at - int(rng.integers(count)))
    end = min(len(groups), begin + count)
    if end - begin < 2:
        return None
    stripes = int(rng.choice(STRIPES[:9]))
    made = _with_stripes(facts, groups[begin].first, groups[end - 1].last, stripes, None, rng)
    return None if made is None else groups[:begin] + made + groups[end:]
