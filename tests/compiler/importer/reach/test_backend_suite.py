"""A sample of the onnx wheel's backend suite; `benchmarks/reach.py` takes all of it."""

import pytest

from tests.support.onnx_suite import all_cases
from tests.support.reach_suite import SuiteFindings, suite_findings
from tests.support.wide import share

# Every so many cases one is taken.
STEP = share(8, 40)
# Of the first and last indices of ranges at most this share may change nothing: comparisons, the
# smaller of two numbers, shifts and remainders hide much.
LOOSE_AT_MOST = 0.06


@pytest.fixture(scope="module")
def found() -> SuiteFindings:
    return suite_findings(all_cases()[::STEP])


def test_no_part_depends_on_more_than_its_reach(found: SuiteFindings) -> None:
    assert not found.wrong, "\n".join(found.wrong[:20])
    assert found.parts > 16000 // STEP


def test_most_ends_of_ranges_are_needed(found: SuiteFindings) -> None:
    assert found.loose.total() <= LOOSE_AT_MOST * found.ends.total(), found.loose
    assert found.ends.total() > 16000 // STEP


def test_most_operators_are_examined(found: SuiteFindings) -> None:
    assert found.examined.total() > 4000 // STEP
    assert found.not_run.total() < 0.1 * found.ruled.total(), found.not_run
