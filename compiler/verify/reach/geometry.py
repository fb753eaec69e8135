"""Nodes of a model without their weights: what the verifier must know of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.importer.build import Imported
from ullage.compiler.importer.nodes import stored_forms
from ullage.compiler.importer.operators.identity import attributes, operator_key, version_of
from ullage.compiler.importer.scope import Scope

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node.

    Attributes:
        op: which operator it is, as `identity.operator_key` says it.
        version: version of its operator set.
        attributes: its attributes, with the defaults of its version.
        inputs: names of its operands, empty for absent ones.
        outputs: names of its results, empty for absent ones.
    """

    op: str
    version: int
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def number(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        return int(self.attributes.get(name, default))

    def numbers(self, name: str, count: int, default: int) -> list[int]:
        """An attribute that is a list of integers; `count` times the default where it is absent."""
        given = self.attributes.get(name)
        return [int(v) for v in given] if given else [default] * count

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is a text."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Geometry:
    """Nodes and shapes of a model.

    Attributes:
        nodes: its nodes; `Operator.nodes` are indices of them.
        shapes: by tensor its shape; those whose lengths depend on data are left out.
        arrays: values of small constants.
        forms: for constants that are another constant in another form, the node that makes them.
    """

    nodes: tuple[NodeFacts, ...]
    shapes: Mapping[str, Shape]
    arrays: Mapping[str, NDArray[Any]]
    forms: Mapping[str, NodeFacts]

    @classmethod
    def of(cls, imported: Imported) -> "Geometry":
        """The geometry of a model that was read."""
        scope, protos = imported.scope, imported.proto.graph.node
        exact = {n: t.shape for n, t in scope.types.items() if not t.is_upper_bound}
        forms = stored_forms(protos, scope)
        return cls(
            tuple(_facts(proto, scope) for proto in protos),
            exact,
            {name: np.asarray(array) for name, array in scope.arrays.items()},
            {name: _facts(proto, scope) for name, proto in forms.items()},
        )


def _facts(proto: onnx.NodeProto, scope: Scope) -> NodeFacts:
    return NodeFacts(
        operator_key(proto, scope.opsets),
        version_of(proto, scope.opsets),
        attributes(proto, scope.opsets),
        tuple(proto.input),
        tuple(proto.output),
    )
