"""What is certain, by experiment: another value in an element that counts changes the result."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from tests.support.reach_cases import CASES, ReachCase
from tests.support.reach_oracle import rubbish, same_bits
from ullage.compiler.importer.reach.certain import with_certain
from ullage.compiler.importer.reach.site import Site
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach, Reach

# Elements of a result, elements of an operand for each of them, and other values for each of those.
RESULTS, ELEMENTS, DRAWS = 2, 2, 6
# Their formulas name elements that the data may make irrelevant: the losers of a maximum, what a
# mask hides, values that are clipped, rounded or compared alike.
DATA_DECIDE = frozenset(
    """MaxPool NhwcMaxPool GlobalMaxPool Max Min Where QLinearWhere ArgMax ArgMin ReduceMax
    ReduceMin TopK Hardmax Clip Relu And Or Xor Not Equal Greater GreaterOrEqual Less
    LessOrEqual Sign Softmax
    LogSoftmax QLinearSoftmax HardSigmoid BitwiseAnd BitwiseOr IsInf IsNaN Mod BitShift
    Sigmoid Tanh Erf Ceil Floor Round Shrink Celu Elu Selu ThresholdedRelu Softsign Exp Softplus
    ReduceLogSumExp ReduceProd Pow QLinearConv QLinearMatMul QLinearAdd QLinearMul QGemm
    QuantizeLinear QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearSigmoid
    LSTM GRU RNN Cast Attention""".split()
)


def looks(case: ReachCase) -> Counter[tuple[str, bool]]:
    """By kind of operator how often another value changed the result, and how often it did not."""
    rng = np.random.default_rng(5)
    bench = case.bench()
    found: Counter[tuple[str, bool]] = Counter()
    for operator in bench.imported.graph.operators:
        if operator.reach is None:
            continue
        name = operator.outputs[0]
        whole = bench.values[name]
        feeds = {n: bench.values[n] for n in operator.inputs}
        for entry in operator.reach.inputs:
            for _ in range(RESULTS if entry.certain is not None and whole.size else 0):
                index = tuple(int(rng.integers(size)) for size in whole.shape)
                for at in _some(entry, index, feeds[entry.name].shape, rng):
                    where = np.zeros(feeds[entry.name].shape, bool)
                    where[at] = True
                    changed = False
                    for _ in range(DRAWS):
                        other = rubbish(rng, feeds[entry.name], where)
                        made = bench.kernels.run(operator, {**feeds, entry.name: other})
                        if not same_bits(np.asarray(made[name][index]), np.asarray(whole[index])):
                            changed = True
                            break
                    found["fused" if len(operator.nodes) > 1 else operator.kind, changed] += 1
    return found


def _some(
    entry: InputReach, index: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Some elements of an operand that an element of the result uses for sure."""
    assert entry.certain is not None
    ranges = [
        range(size)
        if m is None or m.axis == REDUCTION
        else range(*m.interval(index[m.axis], index[m.axis] + 1, size))
        for m, size in zip(entry.certain, shape, strict=True)
    ]
    if not all(ranges):
        return []
    return [tuple(int(rng.choice(r)) for r in ranges) for _ in range(ELEMENTS)]


def test_what_is_certain_matters() -> None:
    found: Counter[tuple[str, bool]] = Counter()
    for case in CASES[::2]:  # the other half has the same operators
        found.update(looks(case))
    kinds = {kind for kind, _ in found}
    assert len(kinds) > 30
    assert found.total() > 400
    idle = {
        kind: found[kind, False]
        for kind in kinds - DATA_DECIDE - {"fused"}  # most of these end in a Relu
        if found[kind, False]
    }
    assert not idle, idle


def operator(op: str, shape: tuple[int, ...]) -> Site:
    kind = TensorType("float32", shape)
    return Site(op, 20, {"kernel_shape": [3, 3]}, ("x",), ("y",), (kind,), (kind,), {})


@pytest.mark.parametrize(("op", "known"), [("MaxPool", True), ("GridSample", False)])
def test_only_operators_that_are_listed_are_certain_of_anything(op: str, *, known: bool) -> None:
    maps = tuple(AxisMap(axis) for axis in range(4))
    reach = Reach(("elements",) * 4, (InputReach("x", maps),))
    found = with_certain(operator(op, (1, 2, 4, 4)), reach)
    assert (found.inputs[0].certain is not None) == known


def test_every_case_of_a_known_kind_stays_inside_its_reach() -> None:
    inside = 0
    for case in CASES:
        for made in case.bench().imported.graph.operators:
            inside += _inside(made, case)
    assert inside > 100


def _inside(made: Operator, case: ReachCase) -> int:
    """Operands of which what is certain lies in what may be needed, for each element."""
    if made.reach is None:
        return 0
    bench = case.bench()
    shape = bench.values[made.outputs[0]].shape
    count = 0
    for entry in made.reach.inputs:
        if entry.certain is None:
            continue
        count += 1
        size = bench.values[entry.name].shape
        for index in list(product(*map(range, shape)))[:40]:
            for may, must, length in zip(entry.axes, entry.certain, size, strict=True):
                if may is None or must is None or REDUCTION in (may.axis, must.axis):
                    continue
                low, high = must.interval(index[must.axis], index[must.axis] + 1, length)
                first, end = may.interval(index[may.axis], index[may.axis] + 1, length)
                assert low >= high or (first <= low and high <= end), (case.name, entry)
    return count
