"""What is stored inside bodies of If, Loop and Scan becomes a weight of the model.

    If { then: MatMul(x, w1), else: MatMul(x, w2) }     ->     the model stores w1 and w2

A body's initializers and larger Constants take bytes as any others do; moved to the main graph,
they are read by the operator to which the body belongs.
"""

from collections import Counter

import onnx

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.bodies.rename import (
    defined_names,
    fresh_name,
    rename_node,
    subgraphs,
)


def lift_weights(graph: onnx.GraphProto, where: str) -> None:
    """Move initializers and Constants of more than one element from bodies to the main graph.

    Raises:
        ModelError: a sparse initializer is in a body.
    """
    bodies = [body for node in graph.node for body in subgraphs(node)]
    taken: Counter[str] | None = None
    while bodies:
        body = bodies.pop()
        bodies.extend(inner for node in body.node for inner in subgraphs(node))
        for sparse in body.sparse_initializer:
            raise ModelError(
                f"{where}: sparse initializer {sparse.values.name!r} is not supported; "
                "store it as a dense tensor"
            )
        if body.initializer or any(_stored(node) is not None for node in body.node):
            taken = defined_names(graph) if taken is None else taken
            _lift_from(body, graph, taken)


def _stored(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant with more than one element, else None."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.type == onnx.AttributeProto.TENSOR:
            elements = 1
            for dim in attribute.t.dims:
                elements *= dim
            return attribute.t if elements > 1 else None
    return None


def _lift_from(body: onnx.GraphProto, graph: onnx.GraphProto, taken: Counter[str]) -> None:
    """Move what one body stores; a body's result has to be made inside, by an Identity then."""
    results = {value.name for value in body.output}
    defaults = {value.name for value in body.input}
    names: dict[str, str] = {}
    made: list[onnx.NodeProto] = []
    kept: list[onnx.NodeProto] = []
    staying = [tensor for tensor in body.initializer if tensor.name in defaults]
    lifted = [(t.name, t) for t in body.initializer if t.name not in defaults]
    for node in body.node:
        tensor = _stored(node)
        if tensor is None:
            kept.append(node)
        else:
            lifted.append((node.output[0], tensor))
    for name, tensor in lifted:
        is_result = name in results
        alone = taken[name] == 1 and not is_result
        new = name if alone else fresh_name(f"{name}/stored" if is_result else name, taken)
        if is_result:
            made.append(onnx.helper.make_node("Identity", [new], [name]))
        elif new != name:
            names[name] = new
        stored = graph.initializer.add()
        stored.CopyFrom(tensor)
        stored.name = new
    changed = onnx.GraphProto(node=[*made, *kept], initializer=staying)
    del body.initializer[:]
    del body.node[:]
    body.initializer.extend(changed.initializer)
    body.node.extend(changed.node)
    if names:
        for node in body.node:
            rename_node(node, names)
