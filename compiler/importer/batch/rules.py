"""On which axis of a result the samples of a batch lie, operator by operator.

A rule takes a `Case` and returns an axis per result, or says that samples would meet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from ullage.compiler.importer import optypes
from ullage.compiler.importer.bounds import Attributes
from ullage.compiler.importer.scope import Scope

# Operators of which a sample is a row of the first axis, in the first operand and in all results.
# Other operands are parameters.
ROWS_FIRST = optypes.POOLING | frozenset(
    """Conv ConvTranspose ConvInteger QLinearConv FusedConv BatchNormalization InstanceNormalization
    GroupNormalization LRN DepthToSpace SpaceToDepth GroupNorm""".split()
)
# The same, where any operand may have samples, each a row of its first axis.
ALL_ROWS_FIRST = frozenset(
    """Attention com.microsoft.Attention QAttention MultiHeadAttention EmbedLayerNormalization
    com.microsoft.RotaryEmbedding""".split()
)
# Operators that work along the axis that an attribute names, and on each line of it alone.
ALONG_AXIS = frozenset({"ArgMax", "ArgMin", "LpNormalization", "TopK", "CumSum"})
SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
# Operators that normalise the axes from the named one on.
FROM_AXIS = frozenset(
    """LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization""".split()
)
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


class MixesError(Exception):
    """Samples would meet, or nobody knows whether they would; the message says why."""


@dataclass(frozen=True)
class Case:
    """A node of the model as it was, with the axis of the samples of its operands.

    Attributes:
        node: the node.
        key: which operator it is.
        given: its attributes.
        version: of its operator set.
        axes: axis of the samples of each operand, None where it has none.
        scope: types and values before.
        batch: samples before.
    """

    node: onnx.NodeProto
    key: str
    given: Attributes
    version: int
    axes: Sequence[int | None]
    scope: Scope
    batch: int

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of an operand."""
        return self.scope.types[self.node.input[position]].shape

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return self.scope.types[next(n for n in self.node.output if n)].shape

    def values(self, position: int) -> list[int] | None:
        """An operand of integers, None where it is absent."""
        if position >= len(self.node.input) or not self.node.input[position]:
            return None
        array = self.scope.arrays.get(self.node.input[position])
        if array is None:
            raise MixesError(f"{self.node.input[position]!r} is computed")
        return [int(v) for v in np.asarray(array).reshape(-1)]

    def only_first(self) -> int:
        """The axis of the first operand, of which alone there are samples."""
        others = [a for a in self.axes[1:] if a is not None]
        if self.axes[0] is None or others:
            raise MixesError("samples in an operand of parameters")
        return self.axes[0]


def axes_of_results(case: Case) -> list[int]:
    """Axis of the samples of each result.

    Raises:
        MixesError: samples meet, or nobody knows.
    """
    rule = _RULES.get(case.key)
    if rule is not None:
        return rule(case)
    if case.key in optypes.UNARY:
        return _unary(case)
    if case.key in optypes.BINARY:
        return [_broadcast(case)]
    if case.key in ROWS_FIRST or case.key in ALL_ROWS_FIRST:
        return _rows_first(case)
    if case.key in optypes.REDUCTION:
        return _reduced(case)
    raise MixesError("no rule says whether it keeps samples apart")


def _unary(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.shape(0))
    for position, name in enumerate(case.node.input):
        shape = case.shape(position) if position and name else ()
        along = _axis(int(case.given.get("axis", 1)), rank) == axis and len(shape) == 1
        aligned = len(shape) == rank and shape[axis] > 1
        if prod(shape) > 1 and (aligned or (along and "axis" in case.given)):
            raise MixesError("a parameter of its own for each sample")
    return [axis] * len(case.node.output)


def _rows_first(case: Case) -> list[int]:
    others = case.axes[1:]
    allowed = (None, 0) if case.key in ALL_ROWS_FIRST else (None,)
    if case.axes[0] != 0 or any(axis not in allowed for axis in others):
        raise MixesError("its samples do not lie on the first axis of its first operand")
    return [0] * len(case.node.output)


def _axis(value: int, rank: int) -> int:
    return value % max(1, rank)


def _broadcast(case: Case) -> int:
    """Operands are aligned at their last axes; one without samples has one row for all."""
    rank = len(case.result)
    positions = [
        rank - len(case.shape(i)) + axis for i, axis in enumerate(case.axes) if axis is not None
    ]
    if len(set(positions)) != 1:
        raise MixesError("its operands have their samples on different axes")
    place = positions[0]
    for i, (name, axis) in enumerate(zip(case.node.input, case.axes, strict=True)):
        own = place - (rank - len(case.shape(i))) if name else -1
        if name and axis is None and own >= 0 and case.shape(i)[own] != 1:
            raise MixesError(f"{name!r} has a row for each sample")
        if axis is not None and case.shape(i)[axis] != case.result[place]:
            raise MixesError(f"{name!r} is broadcast along its samples")
    return place


def _reduced(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.shape(0))
    if case.key in ALONG_AXIS:
        reduced = {_axis(_along(case), rank)}
    else:
        named = case.given.get("axes") or case.values(1)
        if not named and case.given.get("noop_with_empty_axes", 0):
            return [axis]
        reduced = {_axis(int(a), rank) for a in named or range(rank)}
    if axis in reduced:
        raise MixesError("it works along the axis of the samples")
    kept = case.key in ("CumSum", "CumProd") or case.given.get("keepdims", 1)
    return [axis if kept else axis - sum(a < axis for a in reduced)] * len(case.node.output)


def _along(case: Case) -> int:
    if case.key in ("CumSum", "CumProd"):
        return (case.values(1) or [0])[0]
    return int(case.given.get("axis", -1))


def _along_axis(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.shape(0))
    along = _axis(_along(case), rank)
    # Before operator set 13 a softmax takes all axes from this one on as one.
    whole = case.key in SOFTMAXES and case.version < 13
    if axis == along or (whole and axis > along):
        raise MixesError("it works along the axis of the samples")
    return [axis] * len(case.node.output)


def _from_axis(case: Case) -> list[int]:
    rank = len(case.shape(0))
    first = _axis(int(case.given.get("axis", -1)), rank)
    if case.axes[0] is None or any(a not in (None, case.axes[0]) for a in case.axes):
        raise MixesError("its operands have their samples on different axes")
    if case.axes[0] >= first:
        raise MixesError("it works along the axis of the samples")
    return [case.axes[0]] * len(case.node.output)


def _matmul(case: Case) -> list[int]:
    second = 3 if case.key == "QLinearMatMul" else 1
    a, b = case.shape(0), case.shape(second)
    x, y = case.axes[0], case.axes[second]
    if any(case.given.get(f"trans{which}", 0) for which in ("A", "B", "BatchA", "BatchB")):
        raise MixesError("it turns its operands")
    rank = len(case.result)
    places: set[int] = set()
    if x is not None:
        if x == len(a) - 1:
            raise MixesError("it adds up over the samples")
        places.add(rank - len(a) + x if len(b) > 1 else rank - len(a) + 1 + x)
    if y is not None:
        if len(b) == 1 or y == len(b) - 2:
            raise MixesError("it adds up over the samples")
        places.add(rank - len(b) + y if len(a) > 1 else rank - len(b) + 1 + y)
    if len(places) != 1:
        raise MixesError("its operands have their samples on different axes")
    place = places.pop()
    for shape, axis in ((a, x), (b, y)):
        own = place - (rank - len(shape))
        if axis is None and 0 <= own < len(shape) - 2 and shape[own] != 1:
            raise MixesError("an operand has a matrix for each sample")
    return [place]


def _gemm(case: Case) -> list[int]:
    if case.only_first() != (1 if case.given.get("transA", 0) else 0):
        raise MixesError("it adds up over the samples")
    if len(case.node.input) > 2 and case.node.input[2]:
        added = case.shape(2)
        if len(added) == 2 and added[0] != 1:
            raise MixesError("a bias of its own for each sample")
    return [0]


def _transpose(case: Case) -> list[int]:
    rank = len(case.shape(0))
    perm = list(case.given.get("perm", range(rank - 1, -1, -1)))
    return [perm.index(case.only_first())]


def _reshape(case: Case) -> list[int]:
    """The axis before which as many elements lie as before: samples remain runs of elements.

    Of several (lengths of 1 between them) the one at the old place is taken, else the first.
    """
    axis = case.only_first()
    before = prod(case.shape(0)[:axis])
    result = case.result
    fitting = [
        place
        for place, length in enumerate(result)
        if prod(result[:place]) == before and length % case.batch == 0 and length
    ]
    if not fitting:
        raise MixesError("the axis of the samples cannot be told in its result")
    return [axis if axis in fitting else fitting[0]]


def _flatten(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.shape(0))
    at = int(case.given.get("axis", 1))
    at = at + rank if at < 0 else at
    first, last = (0, at) if axis < at else (at, rank)
    if prod(case.shape(0)[first:axis]) != 1 or first >= last:
        raise MixesError("samples would lie inside one another")
    return [0 if axis < at else 1]


def _squeeze(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.shape(0))
    named = case.given.get("axes") or case.values(1)
    if not named:
        raise MixesError("it takes away whatever has length 1")
    gone = {_axis(int(a), rank) for a in named}
    if axis in gone:
        raise MixesError("it takes the axis of the samples away")
    return [axis - sum(a < axis for a in gone)]


def _unsqueeze(case: Case) -> list[int]:
    axis, rank = case.only_first(), len(case.result)
    new = {_axis(int(a), rank) for a in case.given.get("axes") or case.values(1) or ()}
    return [[place for place in range(rank) if place not in new][axis]]


def _expand(case: Case) -> list[int]:
    place = len(case.result) - len(case.shape(0)) + case.only_first()
    if case.result[place] != case.shape(0)[case.only_first()]:
        raise MixesError("it repeats along the axis of the samples")
    return [place]


def _concat(case: Case) -> list[int]:
    axes = set(case.axes)
    if len(axes) != 1 or None in axes:
        raise MixesError("an operand has no samples, or has them on another axis")
    axis = next(a for a in axes if a is not None)
    if axis == _axis(int(case.given["axis"]), len(case.result)):
        raise MixesError("it joins along the axis of the samples")
    return [axis]


def _split(case: Case) -> list[int]:
    axis = case.only_first()
    if "axis" not in case.given or axis == _axis(int(case.given["axis"]), len(case.shape(0))):
        raise MixesError("it works along the axis of the samples")
    return [axis] * len(case.node.output)


def _untouched(case: Case) -> list[int]:
    """Slice, Pad, Tile, Resize: the axis of the samples keeps its length, whole."""
    axis, rank = case.only_first(), len(case.shape(0))
    whole = case.result[axis] == case.shape(0)[axis]
    if case.key == "Slice":
        starts = case.given.get("starts") or case.values(1) or []
        named = case.given.get("axes") or case.values(3) or range(len(starts))
        steps = case.values(4) or [1] * len(starts)
        cuts = zip(named, starts, steps, strict=True)
        # An end that is the number of samples shows when inference runs on the larger model.
        whole &= all((at, by) == (0, 1) for a, at, by in cuts if _axis(int(a), rank) == axis)
    if case.key == "Pad":
        pads = list(case.given.get("pads") or case.values(1) or [])
        named = [_axis(int(a), rank) for a in case.values(3) or range(rank)]
        half = len(pads) // 2
        added = [p for i, a in enumerate(named) if a == axis for p in (pads[i], pads[half + i])]
        whole &= not any(added)
    if not whole:
        raise MixesError("it works along the axis of the samples")
    return [axis]


def _kept(case: Case) -> list[int]:
    return [case.only_first()] * len(case.node.output)


def _gather(case: Case) -> list[int]:
    at = _axis(int(case.given.get("axis", 0)), len(case.shape(0)))
    data, indices = case.axes[0], case.axes[1]
    if data is None and indices is not None:
        return [at + indices]
    if data is None or indices is not None or data == at:
        raise MixesError("it works along the axis of the samples")
    return [data if data < at else data + len(case.shape(1)) - 1]


def _recurrent(case: Case) -> list[int]:
    """X [length, samples, width] -> Y [length, directions, samples, hidden], last states."""
    states = [a for a in case.axes[1:] if a is not None]
    if case.axes[0] != 1 or case.given.get("layout", 0) or any(a != 1 for a in states):
        raise MixesError("its samples do not lie on the second axis")
    if any(case.node.input[i] for i in range(4, min(7, len(case.node.input))) if not case.axes[i]):
        raise MixesError("a constant state or length for each sample")
    return [2, 1, 1][: len(case.node.output)]


_RULES: dict[str, Callable[[Case], list[int]]] = {
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "BatchNormalization": _rows_first,
    "QLinearMatMul": _matmul,
    **dict.fromkeys(("Identity", "Dropout"), _kept),
    **dict.fromkeys(("Slice", "Pad", "Tile", "Resize", "Upsample"), _untouched),
    **dict.fromkeys(SOFTMAXES | ALONG_AXIS - {"ArgMax", "ArgMin"}, _along_axis),
    **dict.fromkeys(FROM_AXIS, _from_axis),
    **dict.fromkeys(RECURRENT, _recurrent),
}
