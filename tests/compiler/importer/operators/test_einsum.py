"""Equations of Einsum: those of the specification are read, all others refused at once."""

import pytest

from tests.support.onnx_models import imported, model, node
from ullage.compiler.common.errors import ModelError


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("ij,jk->ik", (2, 4)),
        ("ij, jk", (2, 4)),
        ("iJ,Jk->ki", (4, 2)),
        ("...j,jk->...k", (2, 4)),
        ("ij,jk->", ()),
    ],
)
def test_equations_of_the_specification(equation: str, shape: tuple[int, ...]) -> None:
    made = node("Einsum", "x w", "y", equation=equation)
    graph = imported(model([made], {"x": (2, 3), "w": (3, 4)}, "y"))
    assert graph.values["y"].shape == shape


# onnx's inference loops for ever on most of these.
@pytest.mark.parametrize(
    "equation",
    [
        "\x1b[2J",
        "i.j,jk",
        "i>j",
        "ij,j\tk->ik",
        "....,ij",
        "i...j...,jk",
        "i1,1k",
        "ij;jk",
        b"\xff",
    ],
)
def test_equations_that_are_none_are_refused_at_once(equation: object) -> None:
    made = node("Einsum", "x w", "y", equation=equation)
    with pytest.raises(ModelError, match="is malformed: its equation is"):
        imported(model([made], {"x": (2, 3), "w": (3, 4)}, "y"))
