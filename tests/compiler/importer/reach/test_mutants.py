"""The experiments find ranges that are too small: each map made smaller by one at either end."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support.reach_cases import CASES
from tests.support.reach_oracle import examine
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Reach

CHOSEN = """conv conv_stride conv_dilation conv_lower conv_groups qlinear_conv conv_transpose_stride
average_ceil matmul_batch gemm_turned reshape_uneven concat d2s_CRD slice_backwards
pad_reflect_around resize_linear_half_pixel_18 resize_nearest_asymmetric_13 group_norm gather_rows
attention_flat lstm_1_2 conv_add_relu turned_weight quantised""".split()
# Parts of each mutant.
PARTS = 30


def smaller(axis_map: AxisMap) -> Iterator[AxisMap]:
    """The map with a range that begins one unit later, and one that ends one unit earlier."""
    if axis_map.table:
        yield replace(axis_map, table=tuple((low + 1, high) for low, high in axis_map.table))
        yield replace(axis_map, table=tuple((low, high - 1) for low, high in axis_map.table))
    else:
        yield replace(axis_map, first=axis_map.first + axis_map.divisor)
        yield replace(axis_map, last=axis_map.last - axis_map.divisor)


def mutants(reach: Reach) -> Iterator[Reach]:
    """The reach with one map made smaller; ranges of the reduction are left as they are."""
    for place, entry in enumerate(reach.inputs):
        for axis, axis_map in enumerate(entry.axes):
            if axis_map is None or axis_map.axis == REDUCTION:
                continue
            for changed in smaller(axis_map):
                axes = (*entry.axes[:axis], changed, *entry.axes[axis + 1 :])
                inputs = list(reach.inputs)
                inputs[place] = replace(entry, axes=axes)
                yield replace(reach, inputs=tuple(inputs))


@pytest.mark.parametrize("name", CHOSEN)
def test_every_range_that_is_too_small_is_found(name: str) -> None:
    (case,) = [case for case in CASES if case.name == name]
    bench = case.bench()
    survivors, count = [], 0
    for operator in bench.imported.graph.operators:
        assert operator.reach is not None
        shape = bench.values[operator.outputs[0]].shape
        for mutant in mutants(operator.reach):
            changed = [m for e, o in zip(mutant.inputs, operator.reach.inputs, strict=True)
                       for m, old in zip(e.axes, o.axes, strict=True) if m != old]  # fmt: skip
            (only,) = changed
            assert only is not None
            if operator.reach.axes[only.axis] == "none" or shape[only.axis] == 1:
                continue  # never cut
            count += 1
            rng = np.random.default_rng(11)
            found = examine(bench, replace(operator, reach=mutant), rng, PARTS, ends=False)
            if not found.wrong:
                survivors.append(f"{operator.kind} {only}")
    assert count
    assert not survivors, "\n".join(survivors)
