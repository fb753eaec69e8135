"""Attributes of a node, and errors that name the node whatever its attributes hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx

from ullage.compiler.common.errors import ModelError, UllageError


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values.

    Raises:
        ValueError: an attribute cannot be decoded; `blaming` names model and node.
    """
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


@contextmanager
def blaming(node: onnx.NodeProto, where: str) -> Iterator[None]:
    """Whatever goes wrong while a node is read becomes an error that names the node.

    Attributes of operators without a schema are checked by nobody, and those of others in part
    only: a rule may meet any type and any value.

    Raises:
        ModelError: with the node, its attributes and what its rule choked on.
    """
    try:
        yield
    except (UllageError, MemoryError):
        raise
    except Exception as error:
        given = ", ".join(
            f"{a.name} ({onnx.AttributeProto.AttributeType.Name(a.type)})"
            if a.type in onnx.AttributeProto.AttributeType.values()
            else a.name
            for a in node.attribute
        )
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{where}: {node.op_type} {node.name!r} (output {next(iter(node.output), '')!r}) is "
            f"malformed: {type(error).__name__} {reason}; {len(node.input)} inputs, "
            f"attributes: {given or 'none'}",
            {"operator": node.op_type},
        ) from error
