"""Result types by onnxruntime's own inference, for its operators that have no rule of ours."""

from collections.abc import Mapping, Sequence

import onnx

from ullage.compiler.importer.bounds import Arrays, Triple, Typed
from ullage.compiler.importer.operators.identity import MICROSOFT

# onnxruntime's spelling of element types -> ours, where they differ.
SPELLINGS = {"float": "float32", "double": "float64"}


def onnxruntime_output_types(
    node: onnx.NodeProto,
    inputs: Sequence[Typed | None],
    arrays: Arrays,
    opsets: Mapping[str, int],
) -> list[Triple | None]:
    """Types (dtype, shape, is_upper_bound) of the outputs of an operator of com.microsoft.

    A model of this node alone is opened, never run. Empty where onnxruntime has no kernel for its
    CPU, and where the node is malformed; None for an output whose shape it leaves open.

    Args:
        node: the node.
        inputs: types of its operands, None for absent ones.
        arrays: values of small constants; those of the node become part of the model.
        opsets: version of each operator domain.
    """
    if node.domain != MICROSOFT:
        return []
    import onnxruntime

    known = {n: t for n, t in zip(node.input, inputs, strict=True) if n and t is not None}
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    entering = [
        onnx.helper.make_tensor_value_info(
            name,
            onnx.TensorProto.DataType.Value(names.get(t.dtype, t.dtype.upper())),
            t.shape,
        )
        for name, t in known.items()
        if name not in arrays
    ]
    graph = onnx.helper.make_graph(
        [node],
        "operator",
        entering,
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        [onnx.numpy_helper.from_array(arrays[name], name) for name in known if name in arrays],
    )
    sets = {"": 20, MICROSOFT: 1, **opsets}
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in sets.items()]
    )
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 - onnxruntime raises types of its own; no answer is an answer
        return []
    found = {output.name: output for output in session.get_outputs()}
    return [_triple(found[name].type, found[name].shape) if name else None for name in node.output]


def _triple(type_name: str, shape: Sequence[int | str | None]) -> Triple | None:
    """A type as onnxruntime states it; None where a dimension, or the rank, is open."""
    dtype = type_name.removeprefix("tensor(").removesuffix(")")
    dims = tuple(dim for dim in shape if isinstance(dim, int))
    # An open rank reads like that of a scalar.
    if not shape or len(dims) != len(shape) or not type_name.startswith("tensor("):
        return None
    return (SPELLINGS.get(dtype, dtype), dims, False)
