"""Kernels: each operator as a small model of its nodes and constants, run by onnxruntime."""

import ctypes
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ullage.compiler.common.dtypes import BITS, storage_bytes
from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.element_types import (
    ELEMENT_NUMBERS,
    Array,
    as_bytes,
    is_foreign,
    number_of,
    numpy_dtype,
    typed,
)
from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.load import ELEMENT_NAMES, captures
from ullage.compiler.importer.scope import Scope, TensorType
from ullage.compiler.ir.graph import Operator

logger = logging.getLogger(__name__)

# Types of tensors, in onnxruntime's spelling, whose numbers its Python interface does not return.
FOREIGN_TYPES = frozenset(f"tensor({name})" for name in BITS if is_foreign(numpy_dtype(name)))


class Kernels:
    """Runs operators of a model one at a time.

    Attributes:
        proto: the flat model.
        scope: its types.
        constants: values of constants that are not operands in memory.
        fallbacks: operators that run in onnx's reference evaluator, with the reason.
    """

    def __init__(self, proto: onnx.ModelProto, scope: Scope, weights: Mapping[str, Array]) -> None:
        self.proto = proto
        self.scope = scope
        self.constants: dict[str, Array] = {**scope.arrays, **weights}
        self.fallbacks: list[str] = []
        self.producer = {
            name: index
            for index, node in enumerate(proto.graph.node)
            for name in node.output
            if name
        }
        self._sessions: dict[str, Any] = {}

    def constant(self, names: Iterable[str]) -> None:
        """Compute constants that nodes of the model derive from its initializers."""
        missing = [n for n in dict.fromkeys(names) if n not in self.constants]
        if not missing:
            return
        needed: set[int] = set()
        waiting = list(missing)
        while waiting:
            name = waiting.pop()
            if name in self.constants or self.producer[name] in needed:
                continue
            index = self.producer[name]
            needed.add(index)
            waiting += [n for n in self._read_by(index) if n]
        nodes = [self.proto.graph.node[i] for i in sorted(needed)]
        computed = {n for node in nodes for n in node.output}
        read = {n for i in needed for n in self._read_by(i)} - computed - {""}
        feeds = {name: self.constants[name] for name in sorted(read)}
        model = small_model(self.proto, self.scope, nodes, feeds, missing, {})
        results = run_session(self._session("constants", model), missing, feeds)
        self.constants.update(zip(missing, map(np.asarray, results), strict=True))

    def _read_by(self, index: int) -> list[str]:
        node = self.proto.graph.node[index]
        return [*(n for n in node.input if n), *captures(node)]

    def run(self, operator: Operator, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of an operator by name, from the arrays of its inputs by name."""
        nodes, literals = self.parts(operator)
        outputs = [n for n in operator.outputs if n in self.scope.types]
        results = self.run_nodes(operator.name, nodes, feeds, outputs, literals)
        return dict(zip(outputs, results, strict=True))

    def parts(self, operator: Operator) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
        """The nodes that an operator needs, and the values of constants that they read.

        Nodes that turn a stored weight into what the operator reads are included.
        """
        inputs = set(operator.inputs)
        indices = set(operator.nodes)
        computed = {n for i in indices for n in self.proto.graph.node[i].output if n}
        literal_names: list[str] = []
        waiting = [n for i in sorted(indices) for n in self._read_by(i)]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen or name in computed or name in inputs:
                continue
            seen.add(name)
            chain = self._chain(name, inputs)
            if chain is None:
                literal_names.append(name)
                continue
            for index in chain:
                indices.add(index)
                waiting += self._read_by(index)
                computed.update(n for n in self.proto.graph.node[index].output if n)
        self.constant(literal_names)
        literals = {name: self.constants[name] for name in literal_names}
        return [self.proto.graph.node[i] for i in sorted(indices)], literals

    def _chain(self, name: str, inputs: set[str]) -> list[int] | None:
        """Nodes that derive `name` from a stored weight among `inputs`; None if there are none."""
        chain: list[int] = []
        while name not in inputs:
            index = self.producer.get(name)
            if index is None or name not in self.scope.constants:
                return None
            chain.append(index)
            node = self.proto.graph.node[index]
            if not node.input:
                return None
            name = node.input[0]
        return chain

    def run_nodes(
        self,
        label: str,
        nodes: Sequence[onnx.NodeProto],
        feeds: Mapping[str, Array],
        outputs: Sequence[str],
        literals: Mapping[str, Array],
    ) -> list[Array]:
        """Outputs of some nodes; those of one label are prepared once.

        Args:
            label: names the nodes, in messages too.
            nodes: the nodes in topological order.
            feeds: arrays that they read, by name.
            outputs: names of the tensors wanted.
            literals: values of constants that they read.

        Raises:
            ModelError: the nodes cannot run, or not on these numbers.
        """
        if label not in self._sessions:
            model = small_model(self.proto, self.scope, nodes, feeds, outputs, literals)
            self._sessions[label] = self._session(label, model)
        try:
            results = run_session(self._sessions[label], list(outputs), dict(feeds))
        except Exception as error:
            raise ModelError(
                f"operator {label!r} fails on these numbers: {str(error)[:300]}",
                {"operator": label},
            ) from error
        return [np.asarray(array) for array in results]

    def _session(self, label: str, model: onnx.ModelProto) -> Any:  # noqa: ANN401 - two back ends
        try:
            return open_session(model)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises types of its own
            reason = str(error).strip().splitlines()[0][:200]
            logger.warning("%s runs in onnx's reference evaluator: %s", label, reason)
            self.fallbacks.append(f"{label}: onnx reference evaluator, since {reason}")
        from onnx.reference import ReferenceEvaluator

        try:
            return ReferenceEvaluator(model)
        except Exception as error:
            raise ModelError(
                f"operator {label!r} runs neither in onnxruntime ({reason}) nor in onnx's "
                f"reference evaluator ({error})"
            ) from error


def small_model(
    proto: onnx.ModelProto,
    scope: Scope,
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    outputs: Sequence[str],
    literals: Mapping[str, Array],
) -> onnx.ModelProto:
    """A model of some nodes: `feeds` are its inputs, `literals` its initializers."""

    def info(name: str, tensor_type: TensorType | None, array: Array | None) -> onnx.ValueInfoProto:
        if array is not None:
            number = number_of(array.dtype)
            known = scope.types.get(name)
            loose = known is not None and known.is_upper_bound  # another run has another shape
            lengths = [None] * array.ndim if loose else array.shape
            return onnx.helper.make_tensor_value_info(name, number, lengths)
        assert tensor_type is not None  # noqa: S101 - every output was typed by the importer
        number = ELEMENT_NUMBERS[tensor_type.dtype]
        shape = [None] * len(tensor_type.shape) if tensor_type.is_upper_bound else tensor_type.shape
        return onnx.helper.make_tensor_value_info(name, number, shape)

    graph = onnx.helper.make_graph(
        nodes,
        "operator",
        [info(name, None, array) for name, array in feeds.items()],
        [info(name, scope.types[name], None) for name in outputs],
        [
            onnx.numpy_helper.from_array(np.array(array, order="C"), name)
            for name, array in literals.items()
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=proto.opset_import)
    model.ir_version = max(4, min(proto.ir_version, 10))
    return model


def open_session(model: onnx.ModelProto) -> Any:  # noqa: ANN401 - onnxruntime has no stubs
    """An onnxruntime session without graph optimisations, weights unpacked, on two threads.

    Single operators and the whole model have the same options, so that the same kernels run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    # Every session has threads of its own: spinning between runs, those of a model's hundreds of
    # operators starve each other (20 times slower for ShuffleNet on two cores).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_session(session: Any, names: list[str], feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ANN401
    """Results of a session of onnxruntime, or of onnx's reference evaluator.

    Types that numpy lacks go in and out as bytes of onnxruntime's own tensors.

    Args:
        session: what `open_session` returned, or a reference evaluator.
        names: outputs wanted.
        feeds: inputs by name.
    """
    import onnxruntime

    if not isinstance(session, onnxruntime.InferenceSession):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # infinities and NaN are numbers like others here
            return [np.asarray(array) for array in session.run(names, dict(feeds))]
    written = {output.name: output.type for output in session.get_outputs()}
    foreign = any(is_foreign(array.dtype) for array in feeds.values()) or any(
        written.get(name) in FOREIGN_TYPES for name in names
    )
    if not foreign:
        return [np.asarray(array) for array in session.run(names, dict(feeds))]
    entering = {name: _ort_value(array) for name, array in feeds.items()}
    return [_array_of(value) for value in session.run_with_ort_values(names, entering)]


def _ort_value(array: Array) -> Any:  # noqa: ANN401 - onnxruntime has no stubs
    """A tensor of onnxruntime with the numbers of an array."""
    import onnxruntime

    if not is_foreign(array.dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
    number = number_of(array.dtype)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    data = as_bytes(array)
    if data.size:
        ctypes.memmove(value.data_ptr(), data.ctypes.data, data.size)
    return value


def _array_of(value: Any) -> Array:  # noqa: ANN401 - onnxruntime has no stubs
    """The numbers of a tensor of onnxruntime."""
    name = ELEMENT_NAMES[value.element_type()]
    dtype = numpy_dtype(name)
    if not is_foreign(dtype):
        return np.asarray(value.numpy())
    shape = tuple(value.shape())
    data = np.empty(storage_bytes(name, product(shape)), dtype=np.uint8)
    if data.size:
        ctypes.memmove(data.ctypes.data, value.data_ptr(), data.size)
    return typed(data, dtype, shape)
