"""Outputs cut into tiles, planned and executed: they are those of the whole model.

On small models of the kinds on which compilers that tile go wrong, and on the cases of public
faults where they are beside the project.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.onnx_models import parsed
from tests.support.tile_cases import FOLDER, cases
from tests.support.tile_kinds import KINDS, kind_model
from tests.support.tile_runs import executed, graph_of
from tests.support.tiled_models import saved
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.lowering.tiling.cut import Halo, cut_output


@pytest.mark.parametrize("halo", ["kept", "recomputed"])
@pytest.mark.parametrize("name", KINDS)
def test_tiles_give_the_output_of_the_whole(name: str, halo: Halo, tmp_path: Path) -> None:
    path = saved(kind_model(name), tmp_path)
    tiles = KINDS[name][1]
    schedule = cut_output(graph_of(path), "y", tiles, halo=halo)
    assert len(schedule.parts) > len(graph_of(path).operators)
    for check in executed(path, schedule).outputs:
        assert check.passed
        assert check.finite
        assert check.bit_exact or REDUCTION in tiles


# Parts along an axis that is normalised, and steps of recurrent layers, are not made apart: these
# cases are refused, and no others.
REFUSED = {
    "p35_norm_over_tiled_a.onnx": "Softmax",
    "p35_norm_over_tiled_b.onnx": "LayerNormalization",
    "p35_norm_over_tiled_d.onnx": "Softmax",
    "p46_gru_time_a.onnx": "GRU",
    "p46_lstm_time_b.onnx": "LSTM",
    "p46_gru_time_d.onnx": "GRU",
}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["file"].removesuffix(".onnx"))
@pytest.mark.parametrize("halo", ["kept", "recomputed"])
def test_cases_of_public_faults(case: dict[str, Any], halo: Halo) -> None:
    path = FOLDER / case["file"]
    graph = graph_of(path)
    wanted = [
        {tile["axis"]: tile["stripe"]} if tile["axis"] != "K" else {REDUCTION: tile["parts"][1:]}
        for tile in case["tile"]
    ]
    if len(wanted) > 1:
        wanted.append({axis: tile for one in wanted for axis, tile in one.items()})
    for tiles in wanted:
        output = case["tile"][0]["output"]
        if case["file"] in REFUSED:
            with pytest.raises(UsageError, match=f"{REFUSED[case['file']]} .* does not let"):
                cut_output(graph, output, tiles, halo=halo)
            continue
        schedule = cut_output(graph, output, tiles, halo=halo)
        for check in executed(path, schedule).outputs:
            assert check.passed
            assert check.bit_exact or REDUCTION in tiles


def test_an_output_that_is_a_part_of_a_split_stays_to_the_end(tmp_path: Path) -> None:
    text = """g (float[1,2,6,5] x) => (float y) <int64[2] s = {1,1}>
    { t = Sigmoid(x) y, rest = Split<axis=1>(t, s) }"""
    path = saved(parsed(text), tmp_path)
    schedule = cut_output(graph_of(path), "y", {2: 2}, halo="recomputed")
    assert schedule.cut_operators
    assert all(check.bit_exact for check in executed(path, schedule).outputs)


def test_indices_that_a_part_does_not_read_are_still_indices(tmp_path: Path) -> None:
    text = """g (float[5,4] x, int64[6] i) => (float y) { t = Relu(x) y = Gather<axis=0>(t, i) }"""
    path = saved(parsed(text), tmp_path)
    schedule = cut_output(graph_of(path), "y", {0: 2})
    assert all(check.bit_exact for check in executed(path, schedule).outputs)
