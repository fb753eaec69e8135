"""Parameters: typed fields, ranges, choices, texts of the command line, clear refusals."""

from dataclasses import dataclass
from typing import Any

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.solvers.parameters import (
    NoOptions,
    Parameter,
    changed,
    options_from,
    parameter,
    parameters_of,
)
from ullage.solvers.registry import find_solver, solver_names


@dataclass(frozen=True)
class Options:
    """Parameters of a solver of these tests."""

    window_steps: int = parameter(8, "steps to look ahead", least=1)
    share: float = parameter(0.5, "of the time", least=0, most=1)
    top: int = parameter(3, "at most", most=9)
    mode: str = parameter("fast", "how", choices=("fast", "slow", "random"))
    name: str = parameter("", "any text")
    verbose: bool = parameter(False, "whether to talk")
    seed: int = parameter(0, "of everything")


def made(seed: int = 0, **given: Any) -> Options:
    return options_from("mine", Options, given, seed)


def test_defaults_and_the_seed() -> None:
    assert made() == Options()
    assert made(7).seed == 7
    assert options_from("mine", Options, {"seed": 3}, 7).seed == 3
    assert options_from("mine", NoOptions, {}, 7) == NoOptions()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("window_steps", "12", 12),
        ("window_steps", 12.0, 12),
        ("window_steps", 1, 1),
        ("share", "0.25", 0.25),
        ("share", "1e-3", 1e-3),
        ("share", 1, 1.0),
        ("share", 0, 0.0),
        ("top", -5, -5),
        ("mode", "slow", "slow"),
        ("name", 5, "5"),
        ("name", "", ""),
        *[("verbose", text, True) for text in ("true", "True", "YES", "on", "1", 1, True)],
        *[("verbose", text, False) for text in ("false", "No", "off", "0", 0, False)],
    ],
)
def test_values_get_the_type_of_their_field(name: str, value: Any, found: Any) -> None:
    got = getattr(made(**{name: value}), name)
    assert got == found
    assert type(got) is type(found)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("window_steps", 0, "takes a whole number of at least 1, not 0"),
        ("window_steps", "0", "takes a whole number of at least 1, not '0'"),
        ("window_steps", 1.5, "takes a whole number of at least 1, not 1.5"),
        ("window_steps", "many", "takes a whole number of at least 1, not 'many'"),
        ("window_steps", True, "takes a whole number of at least 1, not True"),
        ("share", 1.01, "takes a number from 0 to 1, not 1.01"),
        ("share", "-1", "takes a number from 0 to 1, not '-1'"),
        ("share", "nan", "takes a number from 0 to 1, not 'nan'"),
        ("share", float("inf"), "takes a number from 0 to 1, not inf"),
        ("share", False, "takes a number from 0 to 1, not False"),
        ("top", 10, "takes a whole number of at most 9, not 10"),
        ("top", "9" * 5000, "takes a whole number of at most 9, not"),
        ("mode", "fats", "takes one of fast, slow, random, not 'fats'; did you mean fast?"),
        ("mode", "zzz", "takes one of fast, slow, random, not 'zzz'"),
        ("verbose", "maybe", "takes true or false, not 'maybe'"),
        ("verbose", 2, "takes true or false, not 2"),
    ],
)
def test_what_a_field_does_not_take_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(**{name: value})
    assert caught.value.message.startswith(f"mine: parameter {name} {message}")


def test_unknown_names_are_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UsageError) as caught:
        made(window_step=3)
    assert caught.value.message == (
        "mine has no parameter 'window_step'; did you mean window_steps? (it has: window_steps, "
        "share, top, mode, name, verbose, seed; ullage solvers show mine)"
    )
    with pytest.raises(UsageError, match=r"mine has no parameter 'zzz' \(it has: window_steps,"):
        made(zzz=3)
    with pytest.raises(UsageError, match=r"\(it has: none; ullage solvers show mine\)"):
        options_from("mine", NoOptions, {"depth": 1}, 0)


def test_what_differs_from_the_defaults_is_kept_without_the_seed() -> None:
    assert changed(made(5)) == {}
    assert changed(made(5, share="0.5", top=4, verbose="yes")) == {"top": 4, "verbose": True}
    assert changed(NoOptions()) == {}


def test_fields_are_shown_with_type_range_and_sentence() -> None:
    shown = parameters_of(Options)
    assert [p.name for p in shown][:2] == ["window_steps", "share"]
    assert shown[1] == Parameter("share", "float", 0.5, "of the time", 0, 1, ())
    assert [p.kind for p in shown] == ["int", "float", "int", "str", "str", "bool", "int"]
    assert shown[3].choices == ("fast", "slow", "random")


@pytest.mark.parametrize("name", solver_names())
def test_every_solver_documents_its_parameters_and_takes_its_own_defaults(name: str) -> None:
    options = find_solver(name).options
    for item in parameters_of(options):
        assert item.kind in ("int", "float", "str", "bool"), item.name
        assert len(item.sentence) > 3, item.name
        assert options_from(name, options, {item.name: item.default}, 0) == options()
        assert options_from(name, options, {item.name: str(item.default)}, 0) == options()
