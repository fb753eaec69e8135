"""The verifier's reach holds what experiments show to be needed.

That it is within the importer's, so that parts that are right are not objected to, is looked at
beside the experiments with the importer's (`tests.support.reach_oracle`).
"""

from typing import Any

import numpy as np
import pytest

from tests.support.tile_cases import FOLDER, cases
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.needs import Need, box_of, one_by_one
from ullage.compiler.verify.reach.walk import NoRuleError, Walk

# onnxruntime's kernel sums up all channels before the window too, which shows in the last bits.
ROUNDED = "LRN"


def whole_walk(imported: Imported, geometry: Geometry, output: str, box: Need) -> dict[str, Any]:
    """For each tensor before an output the mask of what the verifier needs, node by node."""
    needs: dict[str, list[Need]] = {output: [box]}
    for operator in reversed(imported.graph.operators):
        for name in operator.outputs:
            for need in list(needs.get(name, ())):
                for source, own in Walk(geometry, operator).back({name: need}).items():
                    needs.setdefault(source, []).extend(own)
    return {name: np.any([one_by_one(n) for n in own], axis=0) for name, own in needs.items()}


@pytest.mark.skipif(not cases(), reason="the folder of cases beside the project is absent")
def test_what_experiments_show_to_be_needed_is_needed() -> None:
    unknown: set[str] = set()
    rows = 0
    for case in cases():
        imported = import_detailed(FOLDER / case["file"], ImportOptions(fuse=False))
        geometry = Geometry.of(imported)
        for row in case["rows"]:
            shape = tuple(case["shapes"][row["output"]])
            cut = {row["axis"]: row["range"], **dict(row.get("more", []))}
            box = box_of(shape, {axis: (low, high) for axis, (low, high) in cut.items()})
            try:
                needs = whole_walk(imported, geometry, row["output"], box)
            except NoRuleError as error:
                unknown.add(str(error))
                continue
            rows += 1
            for name, per_axis in row["needs"].items():
                mask = needs.get(name, np.zeros(case["shapes"][name], bool))
                for axis, intervals in enumerate(per_axis):
                    others = tuple(a for a in range(mask.ndim) if a != axis)
                    held = set(np.flatnonzero(mask.any(axis=others)).tolist())
                    wanted = {i for low, high in intervals for i in range(low, high)}
                    if ROUNDED in case["ops"] and axis == 1:
                        continue
                    assert wanted <= held, (case["file"], row["output"], name, axis)
    assert rows > 280
    # A cropped region, and a window over what a Reshape left of rows: no operator has both.
    assert unknown == {"GRU", "LSTM", "Resize", "Conv"}
