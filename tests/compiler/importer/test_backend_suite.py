"""The backend suite of the onnx wheel in the importer: no crash, no wrong size, few refusals."""

import pytest

from tests.support.onnx_suite import ImportOutcome, SuiteCase, all_cases, import_case

# Cases of the wheel (onnx 1.23) for which the numbers below were counted; of those that a later
# wheel adds, any may be refused.
CASES = 2024
# Cases that are refused: strings, sequences and optionals, shapes without a bound.
REFUSED_AT_MOST = 79
# Tensors whose sizes are compared at least: inputs, outputs and everything inside expansions.
SIZED_AT_LEAST = 17_000


@pytest.fixture(scope="module")
def outcomes() -> dict[str, ImportOutcome]:
    cases: list[SuiteCase] = all_cases()
    return {case.name: import_case(case, intermediates=True) for case in cases}


def test_no_case_crashes(outcomes: dict[str, ImportOutcome]) -> None:
    assert {name: o.crash for name, o in outcomes.items() if o.crash} == {}


def test_every_tensor_has_the_size_that_it_is_planned_with(
    outcomes: dict[str, ImportOutcome],
) -> None:
    assert {name: o.wrong_sizes for name, o in outcomes.items() if o.wrong_sizes} == {}
    assert sum(o.sized for o in outcomes.values()) >= SIZED_AT_LEAST


def test_no_more_cases_are_refused(outcomes: dict[str, ImportOutcome]) -> None:
    refused = {name: o.refusal for name, o in outcomes.items() if o.refusal}
    later = max(0, len(outcomes) - CASES)
    assert len(refused) <= REFUSED_AT_MOST + later, "\n".join(
        f"{name}: {reason}" for name, reason in refused.items()
    )
