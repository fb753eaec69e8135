"""The backend suite of the onnx wheel, compiled and executed by its plans.

`benchmarks/onnx_backend.py` makes a table of all outcomes.
"""

import pytest

from tests.support.onnx_suite import RunOutcome, all_cases, execute_case, import_case
from tests.support.wide import share

# Cases that onnxruntime runs and that are not executed.
REFUSED_AT_MOST = 0
# Of all cases so many are executed at least.
EXECUTED_AT_LEAST = 1797
# Every so many cases one is taken, where not all are asked for.
STEP = 12


@pytest.fixture(scope="module")
def outcomes() -> dict[str, RunOutcome]:
    return {
        case.name: execute_case(case)
        for case in all_cases()[:: share(1, STEP)]
        if not import_case(case).refusal
    }


def test_whatever_is_executed_is_right(outcomes: dict[str, RunOutcome]) -> None:
    assert {name: o.wrong for name, o in outcomes.items() if o.wrong} == {}
    executed = [name for name, o in outcomes.items() if not o.refusal]
    assert len(executed) >= EXECUTED_AT_LEAST // share(1, STEP) * share(100, 95) // 100


def test_what_onnxruntime_runs_is_executed(outcomes: dict[str, RunOutcome]) -> None:
    refused = {name: o.refusal for name, o in outcomes.items() if o.refusal and o.ordinary}
    assert len(refused) <= REFUSED_AT_MOST, "\n".join(f"{n}: {r}" for n, r in refused.items())
