"""Figures of target files: numbers with a source, a confidence and a fixed unit."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import (
    MAX_CELLS,
    MAX_CYCLES,
    MAX_RATE,
    MAX_RATIO,
    MAX_SECONDS,
    MIN_AMOUNT,
    MIN_RATE,
    MIN_RATIO,
    MIN_SHARE,
)
from ullage.compiler.common.units import MAX_SIZE_BYTES, parse_size

# A number with a unit behind it; lengths are bounded, as texts come from the command line.
_WITH_UNIT = re.compile(
    r"([0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?|\.[0-9]{1,30}) ?([A-Za-zµ]{1,3})"
)
# Units that a text may have in place of the field's own, as powers of ten of that.
_SECONDS = {"s": 0, "ms": -3, "us": -6, "µs": -6, "ns": -9, "ps": -12}
_JOULES = {"J": 0, "mJ": -3, "uJ": -6, "µJ": -6, "nJ": -9, "pJ": -12, "fJ": -15}
_HERTZ = {"Hz": 0, "kHz": 3, "MHz": 6, "GHz": 9}


def _size(value: object) -> int:
    """An integer, or a text such as `1MiB`, as bytes."""
    if isinstance(value, str):
        try:
            return parse_size(value)
        except UsageError as error:
            raise ValueError(error.message) from error
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a size is a whole number of bytes or a text such as 1MiB")  # noqa: TRY004 pydantic collects ValueErrors
    if not 0 <= value <= MAX_SIZE_BYTES:
        raise ValueError("a size is at least 0 and at most 2**62 bytes")
    return value


def _granularity(value: object) -> int:
    """Bytes, or 0 for the text `row`."""
    if value == "row":
        return 0
    size_bytes = _size(value)
    if size_bytes == 0:
        raise ValueError("a slice cannot be 0 bytes; give bytes (256) or `row`")
    return size_bytes


def _alignment(value: object) -> int:
    size_bytes = _size(value)
    if size_bytes.bit_count() != 1:
        raise ValueError("an alignment is a power of two (1, 2, 4 ... bytes)")
    return size_bytes


def _burst(value: object) -> int:
    size_bytes = _size(value)
    if not 1 <= size_bytes <= MAX_CELLS:
        raise ValueError(f"a burst is from 1 to {MAX_CELLS} bytes")
    return size_bytes


def _count(value: object) -> int:
    # A whole number above 0; as a text it comes from the command line.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**9:
        raise ValueError("a whole number from 1 to 999999999 is needed")
    return value


def _real(value: object) -> float:
    """A finite, non-negative number; YAML reads `4e9` (no point) as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number is needed, such as 4.0e9")  # noqa: TRY004 pydantic collects ValueErrors
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("a finite number is needed, such as 4.0e9") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("a finite number that is not negative is needed")
    return number


def _scaled(value: object, units: Mapping[str, int]) -> object:
    """A text with a unit as the number in the field's own unit; anything else as it is."""
    match = _WITH_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return value
    if match[2] not in units:
        own, known = next(iter(units)), ", ".join(units)
        raise ValueError(f"unknown unit {match[2]!r}; write one of {known}, or a number in {own}")
    return float(Decimal(match[1]).scaleb(units[match[2]]))


def _amount(value: object) -> float:
    """A time in seconds or an energy in joules."""
    number = _real(value)
    if number and not MIN_AMOUNT <= number <= MAX_SECONDS:
        raise ValueError(f"0 or a number from {MIN_AMOUNT:g} to {MAX_SECONDS:g} is needed")
    return number


def _seconds(value: object) -> float:
    """A time in seconds, or a text such as `1us`."""
    return _amount(_scaled(value, _SECONDS))


def _joules(value: object) -> float:
    """An energy in joules, or a text such as `2pJ`."""
    return _amount(_scaled(value, _JOULES))


def _hertz(value: object) -> float:
    """A frequency in hertz, or a text such as `500MHz`."""
    return _rate(_scaled(value, _HERTZ))


def _bandwidth(value: object) -> float:
    """Bytes per second, or a text such as `4GB/s` or `4GiB/s`."""
    if isinstance(value, str) and value.strip().lower().endswith("/s"):
        return _rate(_size(value.strip()[:-2]))
    return _rate(value)


def _rate(value: object) -> float:
    number = _real(value)
    if number == 0:
        raise ValueError("a rate must be above 0")
    if not MIN_RATE <= number <= MAX_RATE:
        raise ValueError(f"a rate is from {MIN_RATE:g} to {MAX_RATE:g} per second")
    return number


def _cycles(value: object) -> float:
    number = _real(value)
    if number > MAX_CYCLES:
        raise ValueError(f"cycles are from 0 to {MAX_CYCLES:g}")
    return number


def _share(value: object) -> float:
    number = _real(value)
    if not MIN_SHARE <= number <= 1:
        raise ValueError(f"a share is from {MIN_SHARE:g} to 1")
    return number


def _ratio(value: object) -> float:
    number = _real(value)
    if not MIN_RATIO <= number <= MAX_RATIO:
        raise ValueError(f"a ratio of sizes is from {MIN_RATIO:g} to {MAX_RATIO:g}")
    return number


def _portion(value: object) -> float:
    number = _real(value)
    if number > 1:
        raise ValueError("a portion is from 0 to 1")
    return number


class Strict(BaseModel):
    """A part of a target file: immutable; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Strict):
    """A number and where it comes from.

    Attributes:
        value: in the unit of the field.
        unit: optional, for readers; where it is written, it must be the field's unit.
        source: document, file or reasoning behind the number.
        confidence: `high` (read in a primary source, or a definition), `medium`, `low`.
        note: any remark.
    """

    expected_unit: ClassVar[str] = ""
    value: float
    unit: str | None = None
    source: str = Field(min_length=1)
    confidence: Literal["high", "medium", "low"]
    note: str | None = None

    @field_validator("unit")
    @classmethod
    def _is_the_fields_unit(cls, unit: str | None) -> str | None:
        if unit is not None and unit != cls.expected_unit:
            raise ValueError(f"this field is in {cls.expected_unit}; convert the value")
        return unit


class Bytes(Figure):
    """A size in bytes."""

    expected_unit = "bytes"
    value: Annotated[int, BeforeValidator(_size)]


class Alignment(Figure):
    """An alignment in bytes, a power of two."""

    expected_unit = "bytes"
    value: Annotated[int, BeforeValidator(_alignment)]


class Burst(Figure):
    """Bytes that are moved at once, 1 or more."""

    expected_unit = "bytes"
    value: Annotated[int, BeforeValidator(_burst)]


class Granularity(Figure):
    """Where slices may be cut: at multiples of so many bytes, or at rows (`row`, stored as 0)."""

    expected_unit = "bytes"
    value: Annotated[int, BeforeValidator(_granularity)]


class Count(Figure):
    """A whole number above 0."""

    expected_unit = "count"
    value: Annotated[int, BeforeValidator(_count)]


class BytesPerSecond(Figure):
    """A bandwidth in bytes per second."""

    expected_unit = "bytes/s"
    value: Annotated[float, BeforeValidator(_bandwidth)]


class MacsPerSecond(Figure):
    """Multiply-accumulates per second."""

    expected_unit = "MAC/s"
    value: Annotated[float, BeforeValidator(_rate)]


class OpsPerSecond(Figure):
    """Operations per second, two for each multiply-accumulate."""

    expected_unit = "ops/s"
    value: Annotated[float, BeforeValidator(_rate)]


class ElementsPerSecond(Figure):
    """Elements of the vector unit per second."""

    expected_unit = "elements/s"
    value: Annotated[float, BeforeValidator(_rate)]


class Cycles(Figure):
    """Cycles of a clock, 0 or more; parts of a cycle are an average."""

    expected_unit = "cycles"
    value: Annotated[float, BeforeValidator(_cycles)]


class Share(Figure):
    """A share of a rate, above 0."""

    expected_unit = "share"
    value: Annotated[float, BeforeValidator(_share)]


class Ratio(Figure):
    """Bytes of encoded weights over those of plain ones."""

    expected_unit = "ratio"
    value: Annotated[float, BeforeValidator(_ratio)]


class Portion(Figure):
    """A part of a whole: none, all, or anything between."""

    expected_unit = "share"
    value: Annotated[float, BeforeValidator(_portion)]


class Hertz(Figure):
    """A clock frequency in hertz."""

    expected_unit = "Hz"
    value: Annotated[float, BeforeValidator(_hertz)]


class Seconds(Figure):
    """A time in seconds, 0 or more."""

    expected_unit = "s"
    value: Annotated[float, BeforeValidator(_seconds)]


class JoulesPerByte(Figure):
    """An energy in joules per byte, 0 or more."""

    expected_unit = "J/byte"
    value: Annotated[float, BeforeValidator(_joules)]


class JoulesPerMac(Figure):
    """An energy in joules per multiply-accumulate, 0 or more."""

    expected_unit = "J/MAC"
    value: Annotated[float, BeforeValidator(_joules)]


def figure_type(field: FieldInfo) -> type[Figure] | None:
    """The kind of figure that a field of the schema holds, None for other fields."""
    if get_origin(field.annotation) is dict:
        return None
    for part in (field.annotation, *get_args(field.annotation)):
        if isinstance(part, type) and issubclass(part, Figure):
            return part
    return None
