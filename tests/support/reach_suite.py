"""Rules of reach on the backend suite of the onnx wheel: experiments with parts of operators."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx

from tests.support.onnx_suite import SuiteCase, array_of, dims_of
from tests.support.reach_oracle import Bench, bench, examine
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.ir.graph import Operator

PARTS = 6


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
        except ModelError:
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


def _examine(name: str, ready: Bench, operator: Operator, found: SuiteFindings) -> None:
    if any(ready.values[tensor].dtype.kind == "V" for tensor in operator.inputs):
        found.not_run["numpy has no such numbers"] += 1
        return
    try:
        one = examine(ready, operator, np.random.default_rng(1), PARTS)
    except ModelError:
        found.not_run["the kernel refuses rubbish"] += 1
        return
    found.examined[operator.kind] += 1
    found.parts += one.parts
    found.wrong += [f"{name}: {text}" for text in one.wrong]
    found.ends[operator.kind] += one.ends
    found.loose[operator.kind] += len(one.loose)
