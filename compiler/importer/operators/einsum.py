"""The equation of an Einsum, checked before anything else reads it."""

import re

import onnx

from ullage.compiler.common.errors import NeverRunsError

# Letters, with at most one ellipsis among them.
_TERM = r"[A-Za-z]*(?:\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rf"{_TERM}(?:,{_TERM})*(?:->{_TERM})?")


def check_equation(node: onnx.NodeProto, label: str) -> None:
    """Refuse an equation that is none: onnx's inference never ends with some of them.

    Args:
        node: an Einsum.
        label: what errors call it.

    Raises:
        NeverRunsError: the equation has another form than onnx's specification says.
    """
    for attribute in node.attribute:
        if attribute.name == "equation" and attribute.type == onnx.AttributeProto.STRING:
            text = attribute.s.decode("utf-8", "backslashreplace").replace(" ", "")
            if not _EQUATION.fullmatch(text):
                raise NeverRunsError(
                    f"{label} is malformed: its equation is {text[:60]!r}; terms are letters with "
                    "at most one ellipsis, as in 'bij,bjk->bik'",
                    {"operator": "Einsum"},
                )
