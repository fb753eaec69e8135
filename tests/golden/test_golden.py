"""Plans stay as good as they were: bounds to 1e-6 and values to 1e-3, on every machine.

The hashes in `golden.json` are for comparisons on one machine: `python -m tests.golden.regenerate
--compare`.
"""

import pytest

from tests.golden.canonical import answer_of, key_of
from tests.golden.cases import MODELS_ON_TARGETS, SEEDS, SOLVERS, GoldenModel
from tests.golden.regenerate import read_golden

BOUND_TOLERANCE = 1e-6
VALUE_TOLERANCE = 1e-3


@pytest.mark.wide(16)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("model", MODELS_ON_TARGETS, ids=lambda m: f"{m.name}-{m.target}")
def test_answers_are_those_stored(model: GoldenModel, solver: str) -> None:
    for seed in SEEDS:
        stored = read_golden()[key_of(model, solver, seed)]
        answer = answer_of(model, solver, seed)
        assert answer.error == stored["error"]
        assert answer.value == pytest.approx(stored["value"], rel=VALUE_TOLERANCE)
        assert answer.bound == pytest.approx(stored["bound"], rel=BOUND_TOLERANCE)
        assert answer.simulated_s == pytest.approx(stored["simulated_s"], rel=VALUE_TOLERANCE)


def test_every_case_is_stored() -> None:
    keys = {key_of(m, solver, s) for m in MODELS_ON_TARGETS for solver in SOLVERS for s in SEEDS}
    assert keys == set(read_golden())
