"""Nodes of a model without their weights: what the verifier must know of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.importer.build import Imported
from ullage.compiler.importer.nodes import stored_forms
from ullage.compiler.importer.operators.identity import NodeFacts, facts_of

Shape = tuple[int, ...]


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
            tuple(facts_of(proto, scope.opsets) for proto in protos),
            exact,
            {name: np.asarray(array) for name, array in scope.arrays.items()},
            {name: facts_of(proto, scope.opsets) for name, proto in forms.items()},
        )
