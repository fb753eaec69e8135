"""Sums in parts: an operator whose reduction is cut runs once for each range of it.

    data[.., K]      0 0 0 | elements of the range | 0 0     what the part does not sum up is 0
    weights          rubbish outside of the range, which 0 multiplies
    partial          its product, in float32 or int32, added to the accumulators
    the last part    adds the bias, and runs what is fused behind the product

Nodes before the product (dequantisations) and behind it run as in the whole operator.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.element_types import Array
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.importer.reach.rules import reach_of
from ullage.compiler.importer.scope import Scope
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION, Box, Interval, Reach

# A sum over a box of the output, in the type of the accumulators: float32 or int32.
Sums = NDArray[Any]
# Means and sums, with the number of operands: data and axes.
MEANS = {"GlobalAveragePool": 1, "ReduceMean": 2, "ReduceSum": 2}
# These and products whose kernel gives their sum as it is, with the number of its operands;
# what comes behind them is added to the whole sum.
FLOATING = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "FusedMatMul"), 2),
    **MEANS,
}
# Integer products; data, weights, and the zero points of either.
INTEGER = frozenset({"ConvInteger", "MatMulInteger"})
# Products that round to 8 bits, and the integer product that they round:
# (operator, positions of data, its zero point, weights, their zero point).
ROUNDED = {
    "QLinearConv": ("ConvInteger", (0, 2, 3, 5)),
    "QLinearMatMul": ("MatMulInteger", (0, 2, 3, 5)),
}


@dataclass(frozen=True)
class Stages:
    """The nodes of an operator around the product whose reduction is cut.

    Attributes:
        product: the node.
        reach: its reach over its own tensors.
        before: nodes that make its operands of what the operator reads.
        behind: nodes that make the operator's results of its result.
        literals: values of constants that any of them reads.
    """

    product: onnx.NodeProto
    reach: Reach
    before: Sequence[onnx.NodeProto]
    behind: Sequence[onnx.NodeProto]
    literals: Mapping[str, Array]


@dataclass
class PartialSums:
    """Runs operators range by range of their reduction.

    Attributes:
        kernels: the operators of a model.
        scope: its types.
    """

    kernels: Kernels
    scope: Scope
    _stages: dict[str, Stages] = field(default_factory=dict)

    def stages(self, operator: Operator) -> Stages:
        """The nodes of an operator by stage.

        Raises:
            ModelError: its sums are not executed in parts; says why.
        """
        if operator.name not in self._stages:
            self._stages[operator.name] = self._split(operator)
        return self._stages[operator.name]

    def _split(self, operator: Operator) -> Stages:
        nodes, literals = self.kernels.parts(operator)
        product, reach = self._product(operator, nodes)
        kind = product.op_type
        known = kind in FLOATING or kind in INTEGER or kind in ROUNDED
        result = product.output[0]
        if kind in MEANS and "float" not in self.scope.types[result].dtype:
            known = False  # a mean of integers is rounded
        shapes = [self.scope.types[name].shape for name in (result, *operator.outputs)]
        if not known or any(shape != shapes[0] for shape in shapes):
            raise ModelError(
                f"{operator.name!r} sums in several parts, which is not executed for {kind}"
                f"{'' if not known else ' with a result of another shape'}: cut its output "
                "instead, or compile with --schedule whole",
                {"operator": operator.name, "kind": kind},
            )
        before = _leading_to(product.input, nodes, stop=())
        behind = _leading_to(operator.outputs, nodes, stop={result})
        return Stages(product, reach, before, behind, literals)

    def _product(
        self, operator: Operator, nodes: Sequence[onnx.NodeProto]
    ) -> tuple[onnx.NodeProto, Reach]:
        """The node whose reduction is cut, with its reach."""
        opsets = {o.domain: o.version for o in self.kernels.proto.opset_import}
        for node in nodes:
            reach = reach_of(node, opsets, self.scope.types, self.scope.arrays)
            if reach is not None and reach.reduction > 1:
                return node, reach
        raise ModelError(f"{operator.name!r} has no sum that can be cut")

    def partial(
        self, operator: Operator, feeds: Mapping[str, Array], summed: Interval, box: Box
    ) -> Sums:
        """The sum over a range of the reduction, for a box of the output.

        Args:
            operator: the operator.
            feeds: its operands; finite rubbish where the part does not read.
            summed: the range of its reduction.
            box: the box of its output.
        """
        stages = self.stages(operator)
        product = stages.product
        operands = self._operands(operator, stages, feeds)
        data = next(entry for entry in stages.reach.inputs if entry.name == product.input[0])
        outside = np.zeros(operands[0].shape, bool)
        for axis, axis_map in enumerate(data.axes):
            if axis_map is not None and axis_map.axis == REDUCTION:
                low, high = axis_map.interval(*summed, outside.shape[axis])
                line = np.ones(outside.shape[axis], bool)
                line[low:high] = False
                outside |= line.reshape([-1 if a == axis else 1 for a in range(outside.ndim)])
        kind = product.op_type
        if kind in FLOATING:
            operands = [*operands[: FLOATING[kind]]]
            operands[0] = np.where(outside, operands[0].dtype.type(0), operands[0])
            node = product
        else:
            node, operands = self._integer(operator, product, operands, outside)
        names = [f"operand {place}" for place in range(len(operands))]
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(names)
        label = f"{operator.name} (partial sums)"
        run = self.kernels.run_nodes(
            label, [made], dict(zip(names, operands, strict=True)), [product.output[0]], {}
        )[0]
        kept = np.int32 if kind not in FLOATING else np.float32
        return np.asarray(run[tuple(slice(*span) for span in box)], kept)

    def finish(
        self, operator: Operator, feeds: Mapping[str, Array], sums: Sums, box: Box, rest: Array
    ) -> dict[str, Array]:
        """Results of an operator from the whole sum over a box; elsewhere from `rest`.

        Args:
            operator: the operator.
            feeds: its operands, as for `partial`.
            sums: the sum over all of the reduction.
            box: the box of the output that it is.
            rest: an array of the product's result whose elements outside of the box count.
        """
        stages = self.stages(operator)
        product = stages.product
        operands = self._operands(operator, stages, feeds)
        full = np.zeros(rest.shape, sums.dtype)
        full[tuple(slice(*span) for span in box)] = sums
        ended = self._ended(product, operands, full)
        result = rest.copy()
        region = tuple(slice(*span) for span in box)
        result[region] = ended[region]
        name = product.output[0]
        made = {name: result}
        outputs = [n for n in operator.outputs if n != name and n in self.scope.types]
        if outputs:
            read = {n for node in stages.behind for n in node.input}
            entering = {n: array for n, array in {**feeds, **made}.items() if n in read}
            literals = {n: array for n, array in stages.literals.items() if n in read}
            label = f"{operator.name} (behind its sums)"
            results = self.kernels.run_nodes(label, stages.behind, entering, outputs, literals)
            made.update(zip(outputs, results, strict=True))
        return {n: made[n] for n in operator.outputs if n in made}

    def _operands(
        self, operator: Operator, stages: Stages, feeds: Mapping[str, Array]
    ) -> list[Array]:
        """The operands of the product, in the order of its inputs; empty arrays for absent ones."""
        known = {**stages.literals, **feeds}
        missing = [n for n in dict.fromkeys(stages.product.input) if n and n not in known]
        if missing:
            read = {n for node in stages.before for n in node.input}
            entering = {n: a for n, a in feeds.items() if n in read}
            literals = {n: a for n, a in stages.literals.items() if n in read}
            label = f"{operator.name} (operands)"
            results = self.kernels.run_nodes(label, stages.before, entering, missing, literals)
            known.update(zip(missing, results, strict=True))
        return [known[n] if n else np.zeros(0) for n in stages.product.input]

    @staticmethod
    def _ended(product: onnx.NodeProto, operands: Sequence[NDArray[Any]], sums: Sums) -> Array:
        """The result of the product from its whole sums: with bias, rounded where it rounds."""
        kind = product.op_type
        if kind in FLOATING:
            bias = operands[2] if len(operands) > 2 and operands[2].size else None
            if bias is None:
                return sums.astype(operands[0].dtype)
            if kind == "Gemm":
                beta = next((a.f for a in product.attribute if a.name == "beta"), 1.0)
                return np.asarray(sums + np.float32(beta) * bias, operands[0].dtype)
            column = bias.reshape(-1, *[1] * (sums.ndim - 2))
            return np.asarray(sums + column, operands[0].dtype)
        if kind in INTEGER:
            return sums
        scales = [np.asarray(operands[place], np.float32) for place in (1, 4, 6)]
        by_channel = [1] * sums.ndim
        by_channel[1 if kind == "QLinearConv" else -1] = -1
        if kind == "QLinearConv" and len(operands) > 8 and operands[8].size:
            sums = sums + np.asarray(operands[8], np.int32).reshape(by_channel)
        weights = scales[1].reshape(by_channel) if scales[1].size > 1 else scales[1].reshape(())
        factor = scales[0].reshape(()) * weights / scales[2].reshape(())
        zero = operands[7]
        limits = np.iinfo(zero.dtype)
        rounded = np.rint(sums.astype(np.float32) * factor) + zero.astype(np.float32).reshape(())
        return np.asarray(np.clip(rounded, limits.min, limits.max), zero.dtype)

    @staticmethod
    def _integer(
        operator: Operator,
        product: onnx.NodeProto,
        operands: Sequence[Array],
        outside: NDArray[np.bool_],
    ) -> tuple[onnx.NodeProto, list[Array]]:
        """An integer product and its operands: data, weights, and their zero points if any."""
        if product.op_type in ROUNDED:
            op_type, places = ROUNDED[product.op_type]
            data, data_zero, weights, weights_zero = (operands[place] for place in places)
            if weights_zero.size and not weights_zero.any():
                weights_zero = weights_zero.reshape(-1)[:1].reshape(())
            node = onnx.helper.make_node(op_type, ["x"], list(product.output))
            node.attribute.extend(product.attribute)
        else:
            node = product
            given = [*operands, np.zeros(0), np.zeros(0)]
            data, weights, data_zero, weights_zero = given[:4]
        if data_zero.size > 1 or weights_zero.size > 1:
            raise ModelError(
                f"{operator.name!r} sums in several parts, which is not executed with several zero "
                "points: cut its output instead, or compile with --schedule whole",
                {"operator": operator.name},
            )
        zero = data_zero.reshape(()) if data_zero.size else data.dtype.type(0)
        kept = [np.where(outside, zero, data).astype(data.dtype), weights]
        if data_zero.size or weights_zero.size:
            kept.append(np.asarray(zero, data.dtype))
        if weights_zero.size:
            kept.append(weights_zero.reshape(()))
        return node, kept


def _leading_to(
    names: Iterable[str], nodes: Sequence[onnx.NodeProto], stop: Iterable[str]
) -> list[onnx.NodeProto]:
    """The nodes that make some tensors, back to tensors in `stop` and to what no node makes."""
    wanted, ends = set(names), set(stop)
    found = []
    for node in reversed(nodes):
        if wanted & (set(node.output) - ends):
            found.append(node)
            wanted |= set(node.input)
    return found[::-1]
