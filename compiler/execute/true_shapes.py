"""Shapes that tensors really have in a run, where the plan knows a bound only.

A tensor that is planned by its upper bound takes the bytes that the plan gives it, and its data lie
at their beginning. The shape is known once the operator that makes the tensor has run; a view is
never run, so its shape is worked out from its source's.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.execute.element_types import Array, numpy_dtype
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import Graph, Operator

Shape = tuple[int, ...]


class TrueShapes:
    """The shapes of one inference.

    Attributes:
        known: shapes of those tensors that have been made and are planned by a bound.
        values: tensors that say which shape a view has (the target of a Reshape ...).
    """

    def __init__(
        self,
        graph: Graph,
        types: Mapping[str, TensorType],
        kernels: Kernels,
        elided: Iterable[str],
    ) -> None:
        self.types, self.kernels = types, kernels
        views = set(elided)
        self.view_of: dict[str, Operator] = {
            name: o
            for o in graph.operators
            if o.name in views and any(types[n].is_upper_bound for n in o.outputs if n in types)
            for name in o.outputs
        }
        self.deciding = {n for o in self.view_of.values() for n in o.inputs[1:]}
        self.known: dict[str, Shape] = {}
        self.values: dict[str, Array] = {}

    def begin_again(self) -> None:
        """Forget the inference before."""
        self.known.clear()
        self.values.clear()

    def record(self, name: str, array: Array, what: str) -> None:
        """Note the shape of a tensor that an operator has made.

        Raises:
            VerificationError: it does not fit what was planned.
        """
        planned = self.types[name]
        if planned.is_upper_bound:
            fits = array.ndim == len(planned.shape) and array.size <= planned.elements
            fits = fits and all(
                length == most if planned.is_exact(axis) else length <= most
                for axis, (length, most) in enumerate(zip(array.shape, planned.shape, strict=True))
            )
        else:  # the reference evaluator gives some scalars an axis
            fits = array.size == planned.elements
        if not fits:
            raise VerificationError(
                f"{what}: {name!r} has the shape {list(array.shape)}, planned "
                f"{'at most ' if planned.is_upper_bound else ''}{list(planned.shape)}",
                {"tensor": name, "shape": list(array.shape), "planned": list(planned.shape)},
            )
        if planned.is_upper_bound:
            self.known[name] = array.shape
        if name in self.deciding:
            self.values[name] = array

    def shape_of(self, name: str) -> Shape:
        """The shape of a tensor that exists."""
        planned = self.types[name]
        if not planned.is_upper_bound:
            return planned.shape
        if name not in self.known:
            view = self.view_of[name]
            feeds: dict[str, Array] = {
                n: self.values[n]
                if n in self.values
                else np.zeros(self.shape_of(n), dtype=numpy_dtype(self.types[n].dtype))
                for n in view.inputs
            }
            for made, array in self.kernels.run(view, feeds).items():
                self.record(made, array, f"{view.kind} {view.name!r}")
        return self.known[name]
