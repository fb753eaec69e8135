"""Rules of reach by experiments with parts of operators, on many models.

`suite_findings` takes the backend suite of the onnx wheel with its values, `model_findings` any
model: each operator by itself, with random operands, so that nobody needs the weights.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from tests.support.onnx_suite import SuiteCase, array_of, dims_of
from tests.support.reach_oracle import Bench, bench, examine
from ullage.compiler.common.errors import ModelError, UllageError
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.ir.graph import Operator

PARTS = 6
# Work of an operator beyond which it is not run.
MOST_MACS = 120_000_000
MOST_BYTES = 20_000_000
# Elements of an initializer that may be a constant of an operator, not one of its operands.
MOST_CONSTANT = 4096


@dataclass
class SuiteFindings:
    """What the experiments with the operators of some cases found.

    Attributes:
        ruled: operators that have a reach, by kind.
        unruled: those that have none.
        examined: those that were run.
        parts: parts that were run.
        wrong: parts that changed when something outside of their reach did.
        ends: first and last indices of ranges that were looked at, by kind.
        loose: those whose rubbish changed nothing.
        not_run: operators that were not run, by reason.
    """

    ruled: Counter[str] = field(default_factory=Counter)
    unruled: Counter[str] = field(default_factory=Counter)
    examined: Counter[str] = field(default_factory=Counter)
    parts: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)
    not_run: Counter[str] = field(default_factory=Counter)


def suite_findings(cases: Iterable[SuiteCase]) -> SuiteFindings:
    """Experiments with all operators of some cases that have a reach."""
    found = SuiteFindings()
    for case in cases:
        try:
            imported = import_detailed(case.model, ImportOptions(dims=dims_of(case)), case.name)
        except UllageError:
            continue  # `test_backend_suite` counts refusals
        operators = imported.graph.operators
        found.unruled.update(o.kind for o in operators if o.reach is None)
        ruled = [o for o in operators if o.reach is not None]
        found.ruled.update(o.kind for o in ruled)
        if not ruled:
            continue
        try:
            ready = _bench(case, imported)
        except ModelError:
            found.not_run["the model does not run"] += len(ruled)
            continue
        for operator in ruled:
            _examine(case.name, ready, operator, found)
    return found


def _bench(case: SuiteCase, imported: Imported) -> Bench:
    inputs = {n: np.asarray(array_of(v)) for n, v in case.inputs.items() if v is not None}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in imported.proto.graph.initializer}
    return bench(imported, inputs, weights)


def _examine(
    name: str, ready: Bench, operator: Operator, found: SuiteFindings, parts: int = PARTS
) -> None:
    if any(ready.values[tensor].dtype.kind == "V" for tensor in operator.inputs):
        found.not_run["numpy has no such numbers"] += 1
        return
    try:
        one = examine(ready, operator, np.random.default_rng(1), parts)
    except ModelError:
        found.not_run["the kernel refuses rubbish"] += 1
        return
    found.examined[operator.kind] += 1
    found.parts += one.parts
    found.wrong += [f"{name}: {text}" for text in one.wrong]
    found.ends[operator.kind] += one.ends
    found.loose[operator.kind] += len(one.loose)


def model_findings(imported: Imported, parts: int) -> SuiteFindings:
    """Experiments with the operators of a model that have a reach; of those alike, with one.

    Operands are random, but for small constants (a Gather's indices); those of large operators are
    not drawn.
    """
    found = SuiteFindings()
    kernels = Kernels(imported.proto, imported.scope, _constants(imported))
    seen: set[object] = set()
    values, known = imported.graph.values, imported.scope.arrays
    for operator in imported.graph.operators:
        if operator.reach is None:
            found.unruled[operator.kind] += 1
            continue
        found.ruled[operator.kind] += 1
        names = (*operator.inputs, *operator.outputs)
        size = sum(values[name].size_bytes for name in names)
        if operator.macs > MOST_MACS or size > MOST_BYTES:
            found.not_run["larger than the experiments allow"] += 1
            continue
        reads = [(values[n].shape, values[n].dtype) for n in names]
        nodes = [imported.proto.graph.node[index].op_type for index in operator.nodes]
        kind = repr((nodes, reads, [(i.axes, i.at_end) for i in operator.reach.inputs]))
        if kind in seen:
            continue
        seen.add(kind)
        drawn = {
            n: known[n] if n in known else drawn_values(values[n].shape, values[n].dtype)
            for n in operator.inputs
        }
        try:
            made = kernels.run(operator, drawn)
        except ModelError:
            found.not_run["the kernel refuses random operands"] += 1
            continue
        ready = Bench(imported, kernels, {**drawn, **made})
        _examine(imported.graph.name, ready, operator, found, parts)
    return found


def _constants(imported: Imported) -> dict[str, NDArray[np.generic]]:
    """Initializers of some thousand elements, as scales by channel are: nodes may need them."""
    types = imported.scope.types
    return {
        tensor.name: drawn_values(types[tensor.name].shape, types[tensor.name].dtype)
        for tensor in imported.proto.graph.initializer
        if tensor.name not in imported.scope.arrays and types[tensor.name].elements <= MOST_CONSTANT
    }


def drawn_values(shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    """Random numbers around 1, for logarithms, roots and quotients; indices are 0 or 1."""
    rng = np.random.default_rng(17)
    if dtype.startswith("float"):
        return rng.uniform(0.5, 1.5, shape).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape) > 0
    high = 2 if dtype in ("int64", "int32") else 100
    return rng.integers(0, high, shape).astype(dtype)
