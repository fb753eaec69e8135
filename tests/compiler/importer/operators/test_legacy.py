"""Types of operator set 1, for which onnx infers nothing."""

import pytest

from tests.support.onnx_models import imported, model, node
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.operators.legacy import LIKE_FIRST


@pytest.mark.parametrize(
    "op", sorted(op for op in LIKE_FIRST if not op.startswith(("Training", "Batch", "Instance")))
)
def test_results_are_like_the_first_operand(op: str) -> None:
    operands = "x z" if op in {"Add", "Sub", "Mul", "Div", "PRelu"} else "x"
    proto = model([node(op, operands, "y")], {"x": (2, 3, 4), "z": (4,)}, "y", opset=1)
    assert imported(proto).values["y"].shape == (2, 3, 4)


def test_what_has_no_rule_is_refused_by_name() -> None:
    proto = model(
        [node("Upsample", "x", "y", height_scale=2.0, width_scale=2.0)],
        {"x": (1, 1, 2, 2)},
        "y",
        opset=1,
    )
    with pytest.raises(ModelError, match="the shape of 'y', a result of Upsample"):
        imported(proto)
