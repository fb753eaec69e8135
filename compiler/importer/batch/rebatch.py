"""Another batch for a model whose batch is a fixed number, where that changes nothing else.

Exact means: every sample's results are those that the model gives for it alone. Node by node, a
rule says on which axis of each tensor the samples lie; an operator that would mix samples, or of
which no rule is known, refuses the whole. Reshape, Expand and Resize with fixed target shapes get
new ones. At the end inference runs on the changed model, and every tensor must have its old shape,
longer by the factor along the axis of the samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.batch.rules import Case, MixesError, axes_of_results
from ullage.compiler.importer.operators.identity import attributes, operator_key, version_of
from ullage.compiler.importer.scope import Scope, label_of

# Operand that is the shape of the result, by operator.
TARGET_OPERAND = {"Reshape": 1, "Expand": 1, "Resize": 3}


@dataclass(frozen=True)
class _Change:
    """What is to be changed.

    Attributes:
        scope: types and values of the model as it is.
        before: samples as it is.
        batch: samples that are wanted.
        axes: axis of the samples of every tensor that has any.
    """

    scope: Scope
    before: int
    batch: int
    axes: dict[str, int]

    def grown(self, name: str) -> list[int]:
        """The shape of a tensor with the new number of samples."""
        shape = list(self.scope.types[name].shape)
        shape[self.axes[name]] = shape[self.axes[name]] // self.before * self.batch
        return shape

    def refusal(self, node: onnx.NodeProto, reason: str) -> UsageError:
        """The error for an operator that does not allow another batch."""
        return UsageError(
            f"{self.scope.where}: --batch {self.batch} was given, but the model's batch is fixed "
            f"at [{self.before}], and {label_of(node)} (output {next(iter(node.output), '')!r}) "
            f"does not allow another: {reason}; export the model with a dynamic batch"
        )


def rebatched(
    proto: onnx.ModelProto, scope: Scope, batch: int, infer: Callable[[onnx.ModelProto], Scope]
) -> tuple[onnx.ModelProto, Scope]:
    """The model with another number of samples, and its types.

    Args:
        proto: the flat model; it is not changed.
        scope: its types and constants.
        batch: the number of samples that is wanted.
        infer: inference on a flat model.

    Raises:
        UsageError: an operator mixes samples, or might; names it and the reason.
    """
    stored = {t.name for t in proto.graph.initializer}
    entering = [v.name for v in proto.graph.input if v.name not in stored]
    axes = {name: 0 for name in entering if scope.types[name].shape}
    change = _Change(scope, _batch_of(axes, scope), batch, axes)
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    del changed.graph.value_info[:]
    for value in changed.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in changed.graph.input:
        if value.name in axes:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    for position, node in enumerate(proto.graph.node):
        if any(name and name not in scope.constants for name in node.output):
            _follow(node, change)
            _retarget(changed.graph, position, change)
    larger = infer(changed)
    for node in changed.graph.node:
        _check(node, change, larger)
    return changed, larger


def _batch_of(axes: Mapping[str, int], scope: Scope) -> int:
    """The number of samples: the first dimension of every input that has one.

    Raises:
        UsageError: inputs differ, or there are no samples.
    """
    firsts = {name: scope.types[name].shape[0] for name in axes}
    if len(set(firsts.values())) != 1 or 0 in firsts.values():
        listed = ", ".join(f"{name} {length}" for name, length in firsts.items())
        raise UsageError(
            f"{scope.where}: --batch was given, but the model's batch is fixed at "
            f"{sorted(set(firsts.values()))} ({listed or 'no input has one'}), and only where all "
            "inputs have the same can it be another; export the model with a dynamic batch"
        )
    return next(iter(firsts.values()))


def _follow(node: onnx.NodeProto, change: _Change) -> None:
    """Find out on which axes of a node's results the samples lie."""
    scope = change.scope
    found = [change.axes.get(name) if name else None for name in node.input]
    if all(axis is None for axis in found):
        raise change.refusal(node, "its operands have no samples")
    key, given = operator_key(node, scope.opsets), attributes(node, scope.opsets)
    case = Case(node, key, given, version_of(node, scope.opsets), found, scope, change.before)
    try:
        results = axes_of_results(case)
    except MixesError as error:
        raise change.refusal(node, str(error)) from error
    change.axes.update(
        (name, axis) for name, axis in zip(node.output, results, strict=True) if name
    )


def _retarget(graph: onnx.GraphProto, position: int, change: _Change) -> None:
    """Give an operator another target shape, where an operand says it."""
    node = graph.node[position]
    operand = TARGET_OPERAND.get(operator_key(node, change.scope.opsets))
    if operand is None or operand >= len(node.input) or not node.input[operand]:
        return
    taken: Sequence[str] = [t.name for t in graph.initializer]
    name = f"{node.output[0]}#shape"
    while name in change.scope.types or name in taken:
        name += "#"
    target = np.asarray(change.grown(node.output[0]), dtype=np.int64)
    graph.initializer.append(onnx.numpy_helper.from_array(target, name))
    node.input[operand] = name


def _check(node: onnx.NodeProto, change: _Change, larger: Scope) -> None:
    """Check a node of the changed model: its results have grown, its constants are what they were.

    Raises:
        UsageError: names what has not.
    """
    old = change.scope
    running = [name for name in node.output if name and name not in old.constants]
    for name in running:
        known, expected = larger.types[name], change.grown(name)
        if list(known.shape) != expected or known.is_upper_bound:
            raise change.refusal(node, f"{name!r} would be {list(known.shape)}, not {expected}")
    for name in node.input if running else ():
        mine, its = old.arrays.get(name), larger.arrays.get(name)
        if mine is not None and its is not None and not np.array_equal(mine, its):
            raise change.refusal(node, f"{name!r} is computed from the number of samples")
        if name in old.constants and old.types[name].shape != larger.types[name].shape:
            raise change.refusal(node, f"{name!r} has a row for each sample")
