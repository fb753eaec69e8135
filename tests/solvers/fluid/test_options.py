"""Parameters of `fluid`."""

import pytest

from tests.support.long_wait import long_wait
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import UsageError


@pytest.mark.parametrize(
    "name", ["window_steps", "block_window_steps", "max_rounds", "max_tier_rounds"]
)
def test_parameters_that_would_prove_nothing_are_refused(name: str) -> None:
    problem = long_wait(5)
    with pytest.raises(
        UsageError, match=f"fluid: parameter {name} takes a whole number of at least 1, not 0"
    ):
        solve_with("fluid", problem, Asked(parameters={name: 0}))
