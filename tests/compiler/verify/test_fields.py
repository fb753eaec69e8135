"""How wrong values are shown."""

import pytest

from ullage.compiler.verify.fields import amount_fault, rate_fault, show
from ullage.compiler.verify.target_form import show_name


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, "int 7"),
        ("x" * 58, f"str '{'x' * 58}'"),  # 60 characters with its quotes
        ("x" * 59, f"str '{'x' * 56}..."),
        (2**199, f"int {2**199}"),  # 60 digits
        (2**200 - 1, f"int {str(2**200 - 1)[:57]}..."),
        (2**200, "int of 201 bits"),
        (True, "bool True"),
    ],
)
def test_a_value_is_shown_with_its_type_and_cut(value: object, shown: str) -> None:
    assert show(value) == shown


def test_a_name_is_shown_in_quotes_and_cut() -> None:
    assert show_name("a" * 80) == f"'{'a' * 80}'"
    assert show_name("a" * 81) == f"'{'a' * 80}'"
    assert show_name(7) == "int 7"


@pytest.mark.parametrize("value", [0, -0.5, -1, float("nan"), float("inf"), 10**400])
def test_what_is_no_finite_number_above_0_is_called_so(value: float) -> None:
    assert "must be a finite number above 0" in rate_fault("a rate", value)
    if value != 0:
        assert "must be a finite number of at least 0" in amount_fault("a time", value, 1e9)
