"""Checks of single fields: what is wrong with a value, in words; empty when nothing is."""

import math
from typing import TypeGuard

from ullage.compiler.common.ranges import (
    MAX_COUNT,
    MAX_RATE,
    MAX_RATIO,
    MIN_RATE,
    MIN_RATIO,
    MIN_SHARE,
)
from ullage.compiler.common.visible import is_unicode


def show(value: object) -> str:
    """A wrong value for a message: its type, and its text cut to 60 characters."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"{type(value).__name__} of {value.bit_length()} bits"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def int_fault(name: str, value: object, low: int, high: int = MAX_COUNT) -> str:
    """What is wrong with an integer that must be in [low, high]; empty when nothing is."""
    # Exactly int: a numpy integer overflows silently and is not JSON.
    if type(value) is not int:
        return f"{name} must be an int, is {show(value)}"
    if value < low or value > high:
        return f"{name} must be in [{low}, {high}], is {show(value)}"
    return ""


def rate_fault(name: str, value: object) -> str:
    """What is wrong with a rate, which must be finite, above 0 and in the range of all rates."""
    if not (_is_finite(value) and value > 0):
        return f"{name} must be a finite number above 0, is {show(value)}"
    if not MIN_RATE <= value <= MAX_RATE:
        return f"{name} must be in [{MIN_RATE:g}, {MAX_RATE:g}], is {show(value)}"
    return ""


def amount_fault(name: str, value: object, most: float) -> str:
    """What is wrong with a time, an energy or a bound, which must be finite and in [0, most]."""
    if not (_is_finite(value) and value >= 0):
        return f"{name} must be a finite number of at least 0, is {show(value)}"
    if value > most:
        return f"{name} must be at most {most:g}, is {show(value)}"
    return ""


def ratio_fault(name: str, value: object) -> str:
    """What is wrong with encoded bytes over plain ones; empty when nothing is."""
    if not (_is_finite(value) and MIN_RATIO <= value <= MAX_RATIO):
        return f"{name} must be in [{MIN_RATIO:g}, {MAX_RATIO:g}], is {show(value)}"
    return ""


def share_fault(name: str, value: object) -> str:
    """What is wrong with a share of a rate, above 0 and at most 1; empty when nothing is."""
    if not (_is_finite(value) and MIN_SHARE <= value <= 1):
        return f"{name} must be in [{MIN_SHARE:g}, 1], is {show(value)}"
    return ""


def portion_fault(name: str, value: object) -> str:
    """What is wrong with a part of a whole, from 0 to 1; empty when nothing is."""
    if not (_is_finite(value) and 0 <= value <= 1):
        return f"{name} must be in [0, 1], is {show(value)}"
    return ""


def text_fault(name: str, value: object) -> str:
    """What is wrong with a text, which must be one that a file can hold; empty if nothing is."""
    if not isinstance(value, str):
        return f"{name} must be a str, is {show(value)}"
    return "" if is_unicode(value) else f"{name} must be Unicode text, is {show(value)}"


def all_are(values: object, kind: type) -> bool:
    """Whether a value is a tuple of instances of a class."""
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


def is_pair(value: object) -> bool:
    """Whether a value is a tuple of two."""
    return isinstance(value, tuple) and len(value) == 2


def _is_finite(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False
