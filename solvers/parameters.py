"""A solver's own parameters: the typed, documented fields of a frozen dataclass.

What `--param NAME=VALUE` takes and what `ullage solvers show` prints are these fields.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import MAX_SEED

ParameterValue = str | int | float | bool
Options = TypeVar("Options")

# Texts of `--param` that stand for true and for false.
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parameter(
    default: ParameterValue,
    sentence: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: Sequence[str] = (),
) -> Any:  # noqa: ANN401 - a dataclass field stands for a value of any type
    """A field of an options dataclass.

    Args:
        default: its default, of the field's type (str, int, float or bool).
        sentence: what it does, with its unit.
        least: smallest value allowed.
        most: largest value allowed.
        choices: the values allowed, of a text.
    """
    metadata = {"sentence": sentence, "least": least, "most": most, "choices": tuple(choices)}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """A parameter as it is shown.

    Attributes:
        name: name of the field.
        kind: `int`, `float`, `str` or `bool`.
        default: its default.
        sentence: what it does.
        least: smallest value allowed, None for none.
        most: largest value allowed, None for none.
        choices: the values allowed; empty for all of its kind.
    """

    name: str
    kind: str
    default: ParameterValue
    sentence: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]


@dataclass(frozen=True)
class NoOptions:
    """Options of a solver that has no parameters."""


def parameters_of(options: type) -> tuple[Parameter, ...]:
    """The parameters of an options dataclass."""
    kinds = get_type_hints(options)
    parameters: list[Parameter] = []
    for item in fields(options):
        metadata = item.metadata
        parameters.append(
            Parameter(
                item.name,
                getattr(kinds[item.name], "__name__", str(kinds[item.name])),
                "" if item.default is MISSING else item.default,
                metadata.get("sentence", ""),
                metadata.get("least"),
                metadata.get("most"),
                metadata.get("choices", ()),
            )
        )
    return tuple(parameters)


def options_from(
    solver: str, options: type[Options], given: Mapping[str, ParameterValue], seed: int
) -> Options:
    """The options of a solver: its defaults, overridden by what is given.

    Args:
        solver: its name, for messages.
        options: its options dataclass.
        given: name -> value; texts are converted to the field's type.
        seed: value of the field `seed`, where there is one and it is not given.

    Raises:
        UsageError: an unknown parameter, a value of another type, or one out of range.
    """
    known = {item.name: item for item in parameters_of(options)}
    values: dict[str, ParameterValue] = {}
    if "seed" in known:
        values["seed"] = _seed(solver, seed)
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            suggestion = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(
                f"{solver} has no parameter {name!r}{suggestion} (it has: "
                f"{', '.join(known) or 'none'}; ullage solvers show {solver})"
            )
        values[name] = _converted(solver, known[name], value)
    if "seed" in known:
        _seed(solver, int(values["seed"]))
    return options(**values)


def _seed(solver: str, seed: int) -> int:
    if seed > MAX_SEED:
        raise UsageError(f"{solver}: a seed is at most {MAX_SEED}, not {seed}")
    if seed < 0:
        raise UsageError(f"{solver}: a seed is a whole number of at least 0, not {seed}")
    return seed


def changed(options: object) -> dict[str, ParameterValue]:
    """The parameters that differ from their defaults, without the seed."""
    return {
        item.name: getattr(options, item.name)
        for item in fields(options)  # type: ignore[arg-type] # an instance of a dataclass
        if item.name != "seed" and getattr(options, item.name) != item.default
    }


def _converted(solver: str, wanted: Parameter, value: ParameterValue) -> ParameterValue:
    """A given value in the parameter's type; UsageError where it is not allowed."""
    where = f"{solver}: parameter {wanted.name}"
    converted = _typed(wanted.kind, value)
    if converted is None:
        raise UsageError(f"{where} takes {_described(wanted)}, not {value!r}")
    if wanted.choices and converted not in wanted.choices:
        close = difflib.get_close_matches(str(converted), wanted.choices, 1)
        suggestion = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"{where} takes {_described(wanted)}, not {value!r}{suggestion}")
    if isinstance(converted, int | float) and not isinstance(converted, bool):
        low = -math.inf if wanted.least is None else wanted.least
        high = math.inf if wanted.most is None else wanted.most
        if not low <= converted <= high:
            raise UsageError(f"{where} takes {_described(wanted)}, not {value!r}")
    return converted


def _typed(kind: str, value: ParameterValue) -> ParameterValue | None:
    """The value in the type of a field, None where it has none."""
    if kind == "bool":
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        return True if text in _TRUE else False if text in _FALSE else None
    if kind == "str":
        return value if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        return None
    try:
        number = int(value) if kind == "int" else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if kind == "int" and isinstance(value, float) and number != value:
        return None
    return number if math.isfinite(number) else None


def _described(wanted: Parameter) -> str:
    """What a parameter takes, for messages."""
    if wanted.choices:
        return f"one of {', '.join(wanted.choices)}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    text = names.get(wanted.kind, wanted.kind)
    if wanted.least is not None and wanted.most is not None:
        return f"{text} from {wanted.least:g} to {wanted.most:g}"
    if wanted.least is not None:
        return f"{text} of at least {wanted.least:g}"
    return text if wanted.most is None else f"{text} of at most {wanted.most:g}"
