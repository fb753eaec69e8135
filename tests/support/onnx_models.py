"""A short way to write ONNX models and to import them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph, Operator

Shape = Sequence[int | str]
MICROSOFT = "com.microsoft"
OPSET = 20


def element(dtype: str) -> int:
    """ONNX number of an element type in our spelling."""
    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
    return onnx.TensorProto.DataType.Value(name)


def info(name: str, shape: Shape, dtype: str = "float32") -> onnx.ValueInfoProto:
    """A typed tensor of the graph's border."""
    return helper.make_tensor_value_info(name, element(dtype), list(shape))


def weight(name: str, shape: Sequence[int], dtype: str = "float32") -> onnx.TensorProto:
    """An initializer whose data lies in a file that does not exist."""
    tensor = onnx.TensorProto(name=name, dims=shape, data_type=element(dtype))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="missing.bin")
    return tensor


def const(name: str, values: Any, dtype: str = "int64") -> onnx.TensorProto:
    """An initializer with its data."""
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def node(
    op: str,
    inputs: str,
    outputs: str,
    *,
    domain: str = "",
    name: str = "",
    **attributes: Any,
) -> onnx.NodeProto:
    """A node; `_` among the space-separated names stands for an absent one."""
    read, written = (["" if n == "_" else n for n in names.split()] for names in (inputs, outputs))
    return helper.make_node(op, read, written, name=name, domain=domain, **attributes)


def subgraph(
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto] = (),
    outputs: Iterable[onnx.ValueInfoProto] = (),
    initializers: Iterable[onnx.TensorProto] = (),
) -> onnx.GraphProto:
    """A body of If, Loop or Scan."""
    return helper.make_graph(
        list(nodes), "body", list(inputs), list(outputs), initializer=list(initializers)
    )


def model(
    nodes: Iterable[onnx.NodeProto],
    inputs: Mapping[str, Shape] | Iterable[onnx.ValueInfoProto],
    outputs: str | Iterable[onnx.ValueInfoProto],
    initializers: Iterable[onnx.TensorProto] = (),
    *,
    opset: int = OPSET,
    functions: Iterable[onnx.FunctionProto] = (),
    domains: Iterable[str] = (),
) -> onnx.ModelProto:
    """A model; shapes alone mean float32, output names alone leave their types to the importer."""
    entering = (
        [info(name, shape) for name, shape in inputs.items()]
        if isinstance(inputs, Mapping)
        else list(inputs)
    )
    leaving = (
        [onnx.ValueInfoProto(name=name) for name in outputs.split()]
        if isinstance(outputs, str)
        else list(outputs)
    )
    graph = helper.make_graph(list(nodes), "g", entering, leaving, initializer=list(initializers))
    return helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", opset),
            helper.make_opsetid(MICROSOFT, 1),
            *(helper.make_opsetid(domain, 1) for domain in domains),
        ],
        functions=list(functions),
    )


def parsed(text: str) -> onnx.ModelProto:
    """A model in ONNX's text form, the header filled in."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {OPSET}]>\n{text}')


def imported(proto: onnx.ModelProto, *, fuse: bool = False, **options: Any) -> Graph:
    """The graph of a model, every node by itself unless asked otherwise."""
    return import_model(proto, ImportOptions(fuse=fuse, **options), "m")


def only(graph: Graph, kind: str | None = None) -> Operator:
    """The one operator (of a kind)."""
    (found,) = [o for o in graph.operators if kind is None or o.kind == kind]
    return found
