"""`torch.export` programs as problems, made from an FX graph by way of `lowering.from_lists`.

Needs torch (extra `torch`). Sizes come from the fake tensors that export leaves in `meta["val"]`,
multiply-accumulates from torch's own flop counter.
"""

from collections.abc import Sequence
from typing import Any

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists


def problem_from_exported(
    program: Any,  # noqa: ANN401 - torch.export.ExportedProgram, unknown without torch
    target: Target,
    name: str = "exported",
) -> Problem:
    """The problem of an exported program, operators in the order of its graph.

    Args:
        program: what `torch.export.export` returned; decompose it first for finer operators.
        target: chip to plan for.
        name: name of the problem.

    Raises:
        UsageError: torch is not installed.
        ModelError: a dimension is symbolic, or the graph holds something that is no operator.
    """
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            "torch cannot be imported; install the extra: pip install 'ullage[torch]'"
        ) from error
    walk = _Walk(torch, program, name)
    for node in program.graph.nodes:
        walk.visit(node)
    return problem_from_lists(name, list(walk.tensors.values()), walk.operators, target)


class _Walk:
    """One pass over the graph, which collects tensors and operators for `problem_from_lists`.

    Attributes:
        tensors: by name; a node with several results has `node.0`, `node.1` ...
        operators: in execution order.
        results: node -> names of its tensors, None for results that are no tensors.
    """

    def __init__(self, torch: Any, program: Any, name: str) -> None:  # noqa: ANN401
        self.torch, self.where = torch, name
        signature = program.graph_signature
        self.weights = {
            *signature.inputs_to_parameters,
            *signature.inputs_to_buffers,
            *signature.inputs_to_lifted_tensor_constants,
        }
        returned = [n for n in program.graph.nodes if n.op == "output"]
        self.returned = {n.name for end in returned for n in end.all_input_nodes}
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Op] = []
        self.results: dict[str, list[str | None]] = {}

    def visit(self, node: Any) -> None:  # noqa: ANN401 - torch.fx.Node
        """Add the tensors and the operator of one node."""
        if node.op == "output":
            return
        if node.op == "placeholder":
            kind: TensorKind = "weight" if node.name in self.weights else "input"
            self._results(node, kind)
            return
        if node.op != "call_function":
            raise ModelError(
                f"{self.where}: node {node.name!r} is a {node.op}; only graphs of operators are "
                "planned, export without submodules (control flow)"
            )
        if getattr(node.target, "__name__", "") == "getitem" and len(node.args) == 2:
            source, index = node.args
            self.results[node.name] = [self.results[source.name][index]]
            if node.name in self.returned:
                self._mark_output(self.results[node.name][0])
            return
        names = self._results(node, "activation")
        written = [n for n in names if n is not None]
        if written:  # an operator without tensors (an assertion, a size) costs nothing
            self.operators.append(self._operator(node, written))
        if node.name in self.returned:
            for result in written:
                self._mark_output(result)

    def _mark_output(self, name: str | None) -> None:
        if name is not None and self.tensors[name].kind == "activation":
            self.tensors[name] = Tensor(name, self.tensors[name].size_bytes, "output")

    def _results(self, node: Any, kind: TensorKind) -> list[str | None]:  # noqa: ANN401
        value = node.meta.get("val")
        several = isinstance(value, list | tuple)
        names: list[str | None] = []
        for index, item in enumerate(value if several else [value]):
            if not isinstance(item, self.torch.Tensor):
                names.append(None)
                continue
            name = f"{node.name}.{index}" if several else node.name
            self.tensors[name] = Tensor(
                name, self._elements(node, item) * item.element_size(), kind
            )
            names.append(name)
        self.results[node.name] = names
        return names

    def _elements(self, node: Any, value: Any) -> int:  # noqa: ANN401
        odd = [dim for dim in value.shape if not isinstance(dim, int)]
        if odd:
            raise ModelError(
                f"{self.where}: {node.name!r} has the symbolic dimension {odd[0]}; export with "
                "fixed shapes (no dynamic_shapes)"
            )
        return int(value.numel())

    def _operator(self, node: Any, written: Sequence[str]) -> Op:  # noqa: ANN401
        sources = [n for n in node.all_input_nodes if n.name in self.results]
        reads = [name for n in sources for name in self.results[n.name] if name is not None]
        values = [v for n in sources for v in _tensors(self.torch, n.meta.get("val"))]
        views = self._shared(written, reads) if getattr(node.target, "is_view", False) else {}
        pointwise = self.torch.Tag.pointwise in getattr(node.target, "tags", ())
        macs = 0 if views or pointwise else self._macs(node)
        elements = max(v.numel() for v in (*values, *_tensors(self.torch, node.meta["val"])))
        kind = str(node.target).removeprefix("aten.")
        return Op(
            f"{kind}:{node.name}",
            reads,
            list(written),
            macs=macs,
            dtype=str(values[0].dtype).removeprefix("torch.") if macs and values else "int8",
            vector_elements=0 if macs or views else int(elements),
            in_place=self._shared(written, reads) if pointwise else None,
            views=views,
        )

    def _shared(self, written: Sequence[str], reads: Sequence[str]) -> dict[str, str]:
        """Result -> the first operand of the same size, whose bytes it may overwrite."""
        if len(written) != 1:
            return {}
        size = self.tensors[written[0]].size_bytes
        fits = [n for n in dict.fromkeys(reads) if self.tensors[n].size_bytes == size]
        return {written[0]: fits[0]} if fits else {}

    def _macs(self, node: Any) -> int:  # noqa: ANN401
        """MACs of a node: half of torch's count of floating-point operations, on fake tensors."""
        from torch.utils.flop_counter import FlopCounterMode

        arguments = self.torch.fx.node.map_arg((node.args, node.kwargs), _value)
        with FlopCounterMode(display=False) as counter:
            node.target(*arguments[0], **arguments[1])
        return int(counter.get_total_flops()) // 2


def _tensors(torch: Any, value: Any) -> list[Any]:  # noqa: ANN401
    """The tensors among a node's results."""
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, torch.Tensor)]


def _value(node: Any) -> Any:  # noqa: ANN401
    return node.meta["val"]
