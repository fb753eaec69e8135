"""Shapes of loop-carried tensors: the same in every iteration, or followed until they are known.

    acc = Concat(acc, x)       8 rows, then 16, 24 ... : after 16 iterations, 136

An iteration is one walk over the body with the shapes that the one before left. It ends where
nothing changes any more, or with the last iteration, if their number is known. Where the loop may
stop earlier, shapes are widened to have room for each iteration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.scope import Scope, TensorType, label_of
from ullage.compiler.importer.shapes.axes import has_room_for, joined

# Nodes that may be visited again, in all loops of a model together, to follow growing tensors.
MOST_REPEATED_NODES = 50_000
# Iterations that are followed where their number is unknown.
MOST_WIDENINGS = 8

Types = list[TensorType]
# Types of states -> types of what the body returns, and its scope.
Walk = Callable[[Types], tuple[Types, Scope]]


@dataclass(frozen=True)
class Trips:
    """Largest number of iterations, None where it is unknown; exact: none run stops earlier."""

    most: int | None
    exact: bool = False


@dataclass(frozen=True)
class Passes:
    """What the iterations of a loop leave.

    Attributes:
        final: types of the loop-carried tensors after the loop.
        rows: types of what each iteration returns besides, with room for all iterations.
        scope: what is known inside whichever iteration it is; None where none ever runs.
    """

    final: Types
    rows: Types
    scope: Scope | None


def iterate(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    start: Types,
    trips: Trips,
    scope: Scope,
    walk: Walk,
) -> Passes:
    """Follow the iterations of a Loop or Scan until the shapes of its states are known.

    Args:
        node: the operator.
        graph: its body.
        start: types of the states before the first iteration.
        trips: how many iterations there are.
        scope: scope of the graph in which the node is.
        walk: infers the body for given states.

    Raises:
        ModelError: a state grows, and nothing bounds it; names it.
    """
    if trips.most == 0:
        return Passes(start, [], None)
    state, rows, inside = start, list[TensorType](), None
    done = 0
    while True:
        before = scope.work.visited
        returned, inner = walk(state)
        following = returned[: len(start)]
        inside = inner if inside is None else merged(inside, inner, graph)
        rows = (
            _with_room(rows, returned[len(start) :], node, scope)
            if done
            else returned[len(start) :]
        )
        done += 1
        closed = all(has_room_for(s, f) for s, f in zip(state, following, strict=True))
        if closed or done == trips.most:
            # What the body makes of any state so far; a run that may make none keeps the start.
            final = following
            if not trips.exact:
                final = _with_room(
                    start,
                    following if closed else _with_room(state, following, node, scope),
                    node,
                    scope,
                )
            return Passes(final, rows, inside)
        grows = next(i for i, s in enumerate(state) if not has_room_for(s, following[i]))
        limit = MOST_WIDENINGS if trips.most is None else trips.most
        scope.work.repeated += scope.work.visited - before
        if done >= limit or scope.work.repeated > MOST_REPEATED_NODES:
            raise _growing(node, graph, grows, start[grows], following[grows], trips, scope)
        state = following if trips.exact else _with_room(state, following, node, scope)


def _with_room(
    states: Sequence[TensorType], others: Sequence[TensorType], node: onnx.NodeProto, scope: Scope
) -> Types:
    """For each tensor a type that has room for two.

    Raises:
        ModelError: they differ in rank or in element type.
    """
    result: Types = []
    for one, other in zip(states, others, strict=True):
        both = joined(one, other)
        if both is None:
            raise ModelError(
                f"{scope.where}: a tensor of {label_of(node)} is {one.dtype}{list(one.shape)} in "
                f"one iteration and {other.dtype}{list(other.shape)} in another, and how many run "
                "depends on data; export the model with tensors of one rank",
                {"operator": node.op_type},
            )
        result.append(both)
    return result


def _growing(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    index: int,
    start: TensorType,
    now: TensorType,
    trips: Trips,
    scope: Scope,
) -> ModelError:
    """The error for a state without a bound."""
    name = graph.input[(2 if node.op_type == "Loop" else 0) + index].name
    often = (
        "nothing bounds the number of iterations"
        if trips.most is None
        else f"{trips.most} iterations of a body of {len(graph.node)} nodes are too many to follow"
    )
    return ModelError(
        f"{scope.where}: the loop-carried tensor {name!r} of {label_of(node)} grows from "
        f"{list(start.shape)} to {list(now.shape)} and further, and {often}; export the model with "
        "a tensor of fixed shape, into which parts are written",
        {"tensor": name, "operator": node.op_type},
    )


def merged(one: Scope, other: Scope, graph: onnx.GraphProto) -> Scope:
    """What holds in two iterations of a body: the larger types, the values that are the same."""
    result = Scope(
        where=one.where,
        opsets=one.opsets,
        types=one.types,
        arrays=one.arrays,
        ranges=one.ranges,
        constants=one.constants,
        declared=one.declared,
        symbols=one.symbols,
        iterations={k: _most(one, other, k) for k in {*one.iterations, *other.iterations}},
        work=one.work,
    )
    for name, known in other.types.own.items():
        mine = one.types.own.get(name)
        if mine is None or (joined(mine, known) is None and known.elements > mine.elements):
            result.types[name] = known
        else:
            result.types[name] = joined(mine, known) or mine
        result.ranges.own.pop(name, None)
    for node in graph.node:
        _keep_common_values(node, one, other)
    for position in {*one.subscopes, *other.subscopes}:
        first, second = one.subscopes.get(position, {}), other.subscopes.get(position, {})
        bodies = {
            a.name: a.g for a in graph.node[position].attribute if a.name in {*first, *second}
        }
        result.subscopes[position] = {
            attribute: merged(first[attribute], second[attribute], body)
            if attribute in first and attribute in second
            else (first.get(attribute) or second[attribute])
            for attribute, body in bodies.items()
        }
    return result


def _most(one: Scope, other: Scope, position: int) -> int | None:
    counts = [s.iterations[position] for s in (one, other) if position in s.iterations]
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def _keep_common_values(node: onnx.NodeProto, one: Scope, other: Scope) -> None:
    """Forget in `one` the constants among a node's results that are not the same in `other`."""
    read = [name for name in node.input if name]
    for name in node.output:
        if name not in one.constants:
            continue
        mine, its = one.arrays.get(name), other.arrays.get(name)
        if mine is not None and its is not None:
            same = mine.shape == its.shape and bool(np.array_equal(mine, its))
        else:
            same = mine is its and all(n in one.constants for n in read)
        if not same or name not in other.constants:
            one.constants.discard(name)
            del one.arrays[name]
