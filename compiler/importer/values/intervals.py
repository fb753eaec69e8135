"""Bounds for each element of small tensors that are computed from shapes which depend on data.

Shape of a tensor that is planned by its upper bound is no constant, and nothing computed from it
is. But each of its elements lies between zero and that bound, and interval arithmetic carries this
on to the operators that take shapes as values (Reshape, Expand, Range ...). An element whose lowest
value is its highest is known whatever the data.

Ends are float64, infinite where nothing is known; beyond 2**53 nothing is claimed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.importer.optypes import CONTROL_FLOW
from ullage.compiler.importer.scope import Interval, Scope, attributes, is_standard
from ullage.compiler.importer.values.evaluate import NotComputableError, evaluate
from ullage.compiler.importer.values.folding import FOLD_BUDGET_ELEMENTS

# Elements of a tensor up to which its elements are bounded: shapes have few.
INTERVAL_LIMIT = 1_024
# Integers up to this size are exact in float64, and in float32 and float16 up to the others.
EXACT_INTEGERS = {"float64": 2.0**53, "float32": 2.0**24, "float16": 2.0**11, "bfloat16": 2.0**8}
LARGEST = 2.0**53
# Types without more values than these, whatever the data is.
SMALL_TYPES: Mapping[str, tuple[float, float]] = {
    "bool": (0.0, 1.0),
    "uint8": (0.0, 255.0),
    "int8": (-128.0, 127.0),
    "uint16": (0.0, 65_535.0),
    "int16": (-32_768.0, 32_767.0),
}
INTEGERS = frozenset("int8 int16 int32 int64 uint8 uint16 uint32 uint64".split())

# Operators whose result grows with, or selects from, the inputs at these positions (None: all);
# what the other inputs say must be constant.
MONOTONE: dict[str, frozenset[int] | None] = {
    **dict.fromkeys("Add Sum Max Min Concat Mean Floor Ceil Round Relu Clip".split()),
    **dict.fromkeys(
        """Gather GatherElements GatherND Slice Squeeze Unsqueeze Reshape Flatten Transpose Identity
        Split Expand Tile ReduceSum ReduceMax ReduceMin ReduceMean CumSum Dropout""".split(),
        frozenset({0}),
    ),
    "ScatterElements": frozenset({0, 2}),
    "ScatterND": frozenset({0, 2}),
}
# Operators whose results may be larger than their type holds, or rounded.
ARITHMETIC = frozenset(
    """Add Sum Sub Mul Div Neg Abs Mean ReduceSum ReduceMean ReduceProd CumSum Floor Ceil Round
    """.split()
)


def interval_of(name: str, scope: Scope) -> Interval | None:
    """Lowest and highest values of a tensor's elements, None for large tensors and unknown floats.

    Integers of which nothing is known have infinite ends.
    """
    tensor_type = scope.types[name]
    if tensor_type.is_upper_bound or tensor_type.elements > INTERVAL_LIMIT:
        return None
    array = scope.arrays.get(name)
    if array is not None:
        if array.dtype.kind not in "biuf":
            return None
        exact = array.astype(np.float64)
        return None if np.isnan(exact).any() else (exact, exact)
    known = scope.ranges.get(name)
    if known is not None:
        return known
    if tensor_type.dtype not in {*INTEGERS, "bool"}:
        return None  # floats may be NaN, which no interval holds
    low, high = SMALL_TYPES.get(tensor_type.dtype, (-np.inf, np.inf))
    return np.full(tensor_type.shape, low), np.full(tensor_type.shape, high)


def bound_values(node: onnx.NodeProto, scope: Scope) -> None:
    """Enter what is known of the elements of a node's results, where they are no constants."""
    if not is_standard(node) or node.op_type in CONTROL_FLOW or not node.input:
        return
    outputs = [name for name in node.output if name]
    if not node.output or not node.output[0] or all(name in scope.arrays for name in outputs):
        return  # what has bounds is the first result
    if outputs[0] in scope.constants and node.op_type not in ("Shape", "Size"):
        return  # folding has left it alone
    for name, interval in zip(node.output, _intervals(node, scope), strict=False):
        if name and interval is not None:
            dtype = scope.types[name].dtype
            rounded = _rounded(interval, dtype) if node.op_type in ARITHMETIC else interval
            enter_interval(name, rounded, scope)


def _rounded(interval: Interval, dtype: str) -> Interval:
    """Ends of a computed interval: none where integers may wrap round, wider where floats round."""
    low, high = (np.asarray(end, dtype=np.float64) for end in interval)
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        fits = (low >= max(limits.min, -LARGEST)) & (high <= min(limits.max, LARGEST))
    else:
        largest = EXACT_INTEGERS.get(dtype, 0.0)
        fits = (np.abs(low) <= largest) & (np.abs(high) <= largest)
        low = np.where(low == np.trunc(low), low, low - 2 * np.abs(low) / max(1.0, largest))
        high = np.where(high == np.trunc(high), high, high + 2 * np.abs(high) / max(1.0, largest))
    return np.where(fits, low, -np.inf), np.where(fits, high, np.inf)


def enter_interval(name: str, interval: Interval, scope: Scope) -> None:
    """Enter bounds of the elements of a tensor; one that has only one value is a constant."""
    tensor_type = scope.types[name]
    low, high = (np.asarray(end, dtype=np.float64) for end in interval)
    if tensor_type.is_upper_bound or low.shape != tensor_type.shape:
        return
    if not (low <= high).all():
        return  # a contradiction: nothing can be said
    if low.size and not (np.isfinite(low) | np.isfinite(high)).any():
        return
    exact = bool((low == high).all())
    if exact and tensor_type.dtype in {*INTEGERS, "bool"}:
        scope.arrays[name] = low.astype(tensor_type.dtype)
        scope.constants.add(name)
    else:
        scope.ranges[name] = (low, high)


def _intervals(node: onnx.NodeProto, scope: Scope) -> Sequence[Interval | None]:
    op = node.op_type
    first = scope.types.get(node.input[0])
    if first is not None and op in ("Shape", "Size", "ArgMax", "ArgMin"):
        return _of_types(node, scope)
    outputs = [scope.types[name] for name in node.output if name]
    if any(t.is_upper_bound or t.elements > INTERVAL_LIMIT for t in outputs):
        return ()
    if not any(name in scope.ranges or name in scope.arrays for name in node.input if name) and (
        op not in ("Cast", "Not", "Where")
    ):
        return ()
    intervals = [interval_of(name, scope) if name else None for name in node.input]
    if any(known is None for known, name in zip(intervals, node.input, strict=True) if name):
        return ()
    if op in MONOTONE:
        return _monotone(node, intervals, scope)
    if "" in node.input:
        return ()
    with np.errstate(all="ignore"):
        return (_by_rule(node, [i for i in intervals if i is not None], scope),)


def _of_types(node: onnx.NodeProto, scope: Scope) -> Sequence[Interval | None]:
    """Bounds that follow from the type of the first input."""
    source, given = scope.types[node.input[0]], attributes(node)
    rank = len(source.shape)
    if node.op_type == "Size":
        high = np.array(source.elements, dtype=np.float64)
        return ((0.0 * high if source.is_upper_bound else high, high),)
    if node.op_type == "Shape":
        part = slice(given.get("start", 0), given.get("end", rank))
        lengths = np.array(source.shape, dtype=np.float64)
        exact = np.array([source.is_exact(axis) for axis in range(rank)], dtype=bool)
        return ((np.where(exact, lengths, 0.0)[part], lengths[part]),)
    result = scope.types[node.output[0]]
    if result.is_upper_bound or result.elements > INTERVAL_LIMIT or not rank:
        return ()
    high = np.full(result.shape, max(0.0, source.shape[int(given.get("axis", 0)) % rank] - 1.0))
    return ((np.zeros(result.shape), high),)


def _monotone(
    node: onnx.NodeProto, intervals: Sequence[Interval | None], scope: Scope
) -> Sequence[Interval | None]:
    """Results at the lowest and at the highest values of the inputs."""
    elements = 2 * sum(scope.types[name].elements for name in (*node.input, *node.output) if name)
    if scope.work.folded_elements + elements > FOLD_BUDGET_ELEMENTS:
        return ()
    scope.work.folded_elements += elements
    data = MONOTONE[node.op_type]
    ends: list[list[NDArray[np.generic] | None]] = []
    for end in (0, 1):
        values: dict[str, NDArray[np.generic]] = {}
        for position, (name, interval) in enumerate(zip(node.input, intervals, strict=True)):
            if not name or interval is None:
                continue
            if data is None or position in data:
                values[name] = interval[end]
            elif name in scope.arrays:
                values[name] = scope.arrays[name]
            else:
                return ()
        try:
            ends.append(evaluate(node, scope.opsets.get("", 1), values))
        except NotComputableError:
            return ()
    return [
        None if low is None or high is None else (low.astype(np.float64), high.astype(np.float64))
        for low, high in zip(*ends, strict=True)
    ]


def _cast(interval: Interval, dtype: str) -> Interval | None:
    """Values after a conversion; no ends where it might wrap round."""
    low, high = interval
    if dtype == "bool":
        return _truth((low > 0) | (high < 0), ~((low == 0) & (high == 0)))
    if dtype in EXACT_INTEGERS:
        return _rounded(interval, dtype)
    return _rounded((np.trunc(low), np.trunc(high)), dtype) if dtype in INTEGERS else None


def _truth(certain: NDArray[np.bool_], possible: NDArray[np.bool_]) -> Interval:
    """What is certainly true is 1 at least, what is possibly true 1 at most."""
    return certain.astype(np.float64), possible.astype(np.float64)


def _corners(x: Interval, y: Interval, function: Callable[[Any, Any], Any]) -> Interval:
    """Lowest and highest results of a function that is monotone in each operand."""
    results = np.stack(np.broadcast_arrays(*(function(a, b) for a in x for b in y)))
    unknown = np.isnan(results).any(axis=0)  # zero times infinity
    return (
        np.where(unknown, -np.inf, results.min(axis=0)),
        np.where(unknown, np.inf, results.max(axis=0)),
    )


def _div(x: Interval, y: Interval, *, integer: bool) -> Interval | None:
    """Quotients, cut to integers where the operands are; None where a divisor may be zero."""
    if not ((y[0] > 0) | (y[1] < 0)).all():
        return None
    return _corners(x, y, lambda a, b: np.trunc(a / b) if integer else a / b)


def _mod(x: Interval, y: Interval, *, integer: bool) -> Interval | None:
    """Remainders of integers, where neither these nor the divisors are negative."""
    if not integer or not (x[0] >= 0).all() or not (y[0] > 0).all():
        return None
    known = (x[0] == x[1]) & (y[0] == y[1])
    exact = np.mod(x[0], y[0])
    return np.where(known, exact, 0.0), np.where(known, exact, np.minimum(x[1], y[1] - 1.0))


def _product(x: Interval, given: Mapping[str, Any]) -> Interval | None:
    """Product of all elements of a vector without negative ones."""
    low, high = x
    if low.ndim != 1 or not (low >= 0).all() or not np.isfinite(high).all():
        return None
    shape = (1,) if given.get("keepdims", 1) else ()
    return low.prod().reshape(shape), high.prod().reshape(shape)


def _where(chosen: Interval, x: Interval, y: Interval) -> Interval:
    yes, no = chosen[0] == 1, chosen[1] == 0
    low = np.where(yes, x[0], np.where(no, y[0], np.minimum(x[0], y[0])))
    high = np.where(yes, x[1], np.where(no, y[1], np.maximum(x[1], y[1])))
    return low, high


UNARY_RULES: Mapping[str, Callable[[Interval], Interval]] = {
    "Neg": lambda x: (-x[1], -x[0]),
    "Abs": lambda x: (
        np.maximum(0.0, np.maximum(x[0], -x[1])),
        np.maximum(np.abs(x[0]), np.abs(x[1])),
    ),
    "Not": lambda x: (1.0 - x[1], 1.0 - x[0]),
}
BINARY_RULES: Mapping[str, Callable[[Interval, Interval], Interval]] = {
    "Sub": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "Mul": lambda x, y: _corners(x, y, np.multiply),
    "Less": lambda x, y: _truth(x[1] < y[0], x[0] < y[1]),
    "LessOrEqual": lambda x, y: _truth(x[1] <= y[0], x[0] <= y[1]),
    "Greater": lambda x, y: _truth(x[0] > y[1], x[1] > y[0]),
    "GreaterOrEqual": lambda x, y: _truth(x[0] >= y[1], x[1] >= y[0]),
    "Equal": lambda x, y: _truth(
        (x[0] == x[1]) & (y[0] == y[1]) & (x[0] == y[0]), (x[0] <= y[1]) & (y[0] <= x[1])
    ),
    "And": lambda x, y: (np.minimum(x[0], y[0]), np.minimum(x[1], y[1])),
    "Or": lambda x, y: (np.maximum(x[0], y[0]), np.maximum(x[1], y[1])),
}


def _by_rule(node: onnx.NodeProto, known: Sequence[Interval], scope: Scope) -> Interval | None:
    """Bounds by the rule of the operator; None where there is none, or its conditions fail."""
    op, given = node.op_type, attributes(node)
    dtype = scope.types[node.output[0]].dtype
    result: Interval | None = None
    if "broadcast" in given:
        return None  # operands of old operator sets that are not aligned as numpy does
    if op == "Cast":
        result = _cast(known[0], dtype)
    elif op in UNARY_RULES and len(known) == 1:
        result = UNARY_RULES[op](known[0])
    elif op in BINARY_RULES and len(known) == 2:
        result = BINARY_RULES[op](*known)
    elif op in ("Div", "Mod") and len(known) == 2 and not given.get("fmod", 0):
        result = (_div if op == "Div" else _mod)(*known, integer=dtype in INTEGERS)
    elif op == "ReduceProd" and len(known) == 1 and not given.get("axes"):
        result = _product(known[0], given)
    elif op == "Where" and len(known) == 3:
        result = _where(*known)
    return result
