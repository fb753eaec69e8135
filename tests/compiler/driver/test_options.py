"""Options of the driver, as Python callers give them."""

from typing import Any

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("target", 7),
        ("solver", 3),
        ("fast_memory_bytes", "1MiB"),
        ("fast_memory_bytes", 1.5),
        ("dims", {"n": "8"}),
        ("batch", "2"),
        ("dtype", 8),
        ("dtype", "int7"),
        ("fuse", "no"),
        ("steady_state", 1),
        ("overrides", {"x": 1}),
        ("time_limit_s", "5"),
        ("time_limit_s", float("nan")),
        ("seed", "a"),
        ("seed", -1),
        ("within", "1%"),
        ("order", "zz"),
        ("objective", "speed"),
        ("progress", "loud"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(option: str, value: Any) -> None:
    with pytest.raises(UsageError) as raised:
        compile_model("squeezenet", CompileOptions(**{option: value}))
    name = {"fast_memory_bytes": "fast", "dtype": "type", "seed": "seed"}.get(option, option)
    assert name in raised.value.message


def test_models_and_options_that_are_none_are_refused() -> None:
    wrong: Any = None
    with pytest.raises(UsageError, match="not NoneType"):
        compile_model(wrong)
    wrong = "int8"
    with pytest.raises(UsageError, match="CompileOptions"):
        compile_model("squeezenet", wrong)


def test_data_types_have_their_short_names_here_too() -> None:
    options = [CompileOptions(dtype=name, solver="all-slow") for name in ("fp16", "float16")]
    one, other = (compile_model("squeezenet", each).plan for each in options)
    assert one.problem == other.problem
