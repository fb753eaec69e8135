"""Expected results of every operator: the whole model in onnxruntime, QDQ fused to integer kernels.

onnxruntime replaces DequantizeLinear, operator, QuantizeLinear by an integer operator (QLinearConv,
QGemm, QLinearAdd ...) where it has one. Results in between are outputs of the session too, so that
every operator is compared. Softmax stays in float32: `QLinearSoftmax` (1.32) rounds 1 / scale down
to a whole number. Its float32 result is an output, so that onnxruntime does not fuse it.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.element_types import Array
from ullage.compiler.execute.kernels import run_session, small_model
from ullage.compiler.execute.runner import Executor

# Nodes whose results are the same on every processor: moves, and single roundings by IEEE 754.
# So are the integer operators, whose names begin with:
_QUANTISE, _INTEGER = "QuantizeLinear", ("QLinear", "QGemm")
_EXACT = frozenset(
    "Reshape Flatten Squeeze Unsqueeze Identity Transpose Slice Split Concat Pad Expand MaxPool "
    "DequantizeLinear QuantizeLinear Relu Clip Add Sub Mul Div Max Min".split()
)


@dataclass(frozen=True)
class Reference:
    """Expected results.

    Attributes:
        arrays: name -> numbers.
        exact: names of integer results that are to be equal bit for bit: on the way to them there
            are integer operators, copies, and roundings of single numbers only.
        nodes: operator types that onnxruntime ran, with how many of each.
    """

    arrays: Mapping[str, Array]
    exact: frozenset[str]
    nodes: Mapping[str, int]


def reference_of(executor: Executor, inputs: Mapping[str, Array]) -> Reference:
    """The results of all operators of a model on these inputs.

    Raises:
        ModelError: onnxruntime cannot run the model.
    """
    import onnxruntime

    proto, scope = executor.imported.proto, executor.imported.scope
    graph = executor.imported.graph
    wanted = dict.fromkeys([*(n for o in graph.operators for n in o.outputs), *graph.outputs])
    names = [n for n in wanted if n in scope.types and n not in inputs]
    softmax = [n.output[0] for n in proto.graph.node if n.op_type == "Softmax"]
    asked = list(dict.fromkeys([*names, *softmax]))
    read = {n for node in proto.graph.node for n in node.input}
    feeds = {n: a for n, a in inputs.items() if n in read}
    nodes, weights = _with_own_quantisations(proto.graph.node, executor.weights)
    model = small_model(proto, scope, nodes, feeds, asked, weights)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Without this int8 activations are not fused on x86.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if "int8" not in {scope.types[n.output[0]].dtype for n in nodes if n.op_type == _QUANTISE}:
        # Without this, sums of uint8 times int8 saturate at 16 bits on x86 processors that have
        # AVX2 and no VNNI. onnxruntime has no kernels for int8 times what this makes of weights.
        options.add_session_config_entry("session.x64quantprecision", "1")
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.onnx"
        options.optimized_model_filepath = str(fused)
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            results = run_session(session, asked, feeds)
        except Exception as error:
            raise ModelError(
                f"onnxruntime cannot run the model as a whole: {str(error)[:300]}"
            ) from error
        ran = list(onnx.load(fused).graph.node)
    counts: dict[str, int] = {}
    for node in ran:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    arrays = {n: np.asarray(a) for n, a in zip(asked, results, strict=True)}
    whole = [n for n in names if arrays[n].dtype.kind in "iub"]
    return Reference({**arrays, **inputs}, _exact(ran, whole), counts)


def _with_own_quantisations(
    nodes: Iterable[onnx.NodeProto], weights: Mapping[str, Array]
) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Nodes and weights, each DequantizeLinear with weights of its own.

    onnxruntime (1.32) fails where `session.x64quantprecision` replaces a weight or a zero point
    that several nodes read.
    """
    renamed: list[onnx.NodeProto] = []
    every = dict(weights)
    for index, node in enumerate(nodes):
        own = onnx.NodeProto()
        own.CopyFrom(node)
        if node.op_type == "DequantizeLinear":
            for position, name in enumerate(node.input):
                if name in weights:
                    own.input[position] = f"{name}/{index}"
                    every[f"{name}/{index}"] = weights[name]
        renamed.append(own)
    return renamed, every


def _exact(nodes: Sequence[onnx.NodeProto], names: Iterable[str]) -> frozenset[str]:
    """Those of the names before which nothing is rounded in an order that is a kernel's choice."""
    rounded: set[str] = set()
    for node in nodes:  # in topological order
        exact = node.op_type in _EXACT or node.op_type.startswith(_INTEGER)
        if not exact or rounded.intersection(node.input):
            rounded.update(node.output)
    return frozenset(names) - rounded
