"""From elements of an operator's results to those of its operands, node by node backwards."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ullage.compiler.importer.operators.identity import NodeFacts
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import Interval
from ullage.compiler.verify.reach.computing import (
    KERNELS,
    MATRICES,
    MEANS,
    computed,
    reduction_of,
)
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.moving import moved
from ullage.compiler.verify.reach.needs import Need, is_empty

# Operands from here on are added to the whole sum of a product, or rounded with it.
ADDED = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "FusedGemm": 2, "QLinearConv": 8}


class NoRuleError(Exception):
    """A node of which nothing is known here; its type is the message."""


@dataclass
class Walk:
    """One operator, from its results back to what it reads.

    Attributes:
        geometry: nodes and shapes of the model.
        operator: the operator.
        summed: the range of its reduction that the part sums up, None for all of it.
        is_last: whether the part ends the reduction.
        needs: by tensor what is needed of it.
    """

    geometry: Geometry
    operator: Operator
    summed: Interval | None = None
    is_last: bool = True
    needs: dict[str, list[Need]] = field(default_factory=dict)

    def back(self, results: Mapping[str, Need]) -> dict[str, list[Need]]:
        """What is needed of the operator's inputs for some elements of its results.

        Raises:
            NoRuleError: a node on the way has no rule.
        """
        for name, need in results.items():
            self._add(name, need)
        nodes = [self.geometry.nodes[index] for index in self.operator.nodes]
        inside = {name for node in nodes for name in node.outputs if name}
        sums = [at for at, node in enumerate(nodes) if self._sums(node)]
        late = nodes[sums[0] + 1 :] if sums else []
        behind = {name for node in late for name in node.outputs if name}
        for node in reversed(nodes):
            self._pass(node, inside, behind)
        waiting = [name for name in self.needs if self._is_form(name)]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            form = self.geometry.forms[name]
            self._pass(form, (), ())
            waiting += [other for other in form.inputs if self._is_form(other)]
        return {name: self.needs[name] for name in self.operator.inputs if name in self.needs}

    def reduction(self) -> int:
        """Length of the reduction of the operator's product or mean, 0 where there is none."""
        nodes = (self.geometry.nodes[index] for index in self.operator.nodes)
        return max((reduction_of(node, self.geometry) for node in nodes), default=0)

    def _is_form(self, name: str) -> bool:
        forms = self.geometry.forms
        return name in forms and name in self.needs and name not in self.operator.inputs

    def _add(self, name: str, need: Need) -> None:
        if not is_empty(need):
            self.needs.setdefault(name, []).append(need)

    def _pass(self, node: NodeFacts, inside: Collection[str], behind: Collection[str]) -> None:
        """From what is needed of a node's results to what is needed of its operands.

        Args:
            node: the node.
            inside: tensors that nodes of the operator make.
            behind: those of them that are made behind the product.
        """
        for out, result in enumerate(node.outputs):
            for need in list(self.needs.get(result, ())) if result else ():
                for position, own in self._reads(node, out, need).items():
                    name = node.inputs[position]
                    late = position >= ADDED.get(node.op, len(node.inputs))
                    late = late or (result in behind and name not in inside)
                    if self.is_last or not late:
                        self._add(name, own)

    def _reads(self, node: NodeFacts, out: int, need: Need) -> Mapping[int, Need]:
        names = [name for name in (*node.inputs, *node.outputs) if name]
        if any(name not in self.geometry.shapes for name in names):
            raise NoRuleError(node.op)
        try:
            found = self._applied(node, out, need)
        except (IndexError, KeyError, ValueError) as error:
            # Operands or attributes of another form than the rule is written for.
            raise NoRuleError(node.op) from error
        if found is None:
            raise NoRuleError(node.op)
        return found

    def _applied(self, node: NodeFacts, out: int, need: Need) -> Mapping[int, Need] | None:
        """What a rule says of a node; None where there is none."""
        found: Mapping[int, Need] | None = moved(node, self.geometry, out, need)
        if found is None and isinstance(need, tuple):
            first = next(name for name in node.outputs if name)
            if len(need) == len(self.geometry.shapes[first]):
                summed = self.summed if self._sums(node) else None
                found = computed(node, self.geometry, need, summed)
        return found

    @staticmethod
    def _sums(node: NodeFacts) -> bool:
        """Whether a node is the kind whose reduction may be cut."""
        products = node.op in KERNELS or node.op in MATRICES
        return products or node.op in MEANS or node.op in ("ConvTranspose", "Einsum")
