"""Quantities as people write and read them: `256KiB`, `1.5 MB`, `12.03 ms`, `0.41 uJ`, `3.9 M`."""

import math
import re
from collections.abc import Collection
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import islice

from ullage.compiler.common.errors import UsageError

# Relative distance from a bound up to which a plan counts as optimal ...
CLOSED = 1e-6
# ... and the smallest that two decimals of a percent show.
SMALLEST_SHOWN = 5e-5
# Largest size that a text may stand for, so that arithmetic on sizes fits 64-bit integers.
MAX_SIZE_BYTES = 2**62

# Units of sizes, each 1024 times the one before ...
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
# ... and each 1000 times the one before.
DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
# Lower-case unit -> bytes.
_FACTORS = {unit.lower(): 1024**power for power, unit in enumerate(BINARY_UNITS)} | {
    unit.lower(): 1000**power for power, unit in enumerate(DECIMAL_UNITS)
}
# A number and a unit. Lengths are bounded so that a hostile text cannot make the arithmetic slow.
_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,2})?) ?([a-z]{0,3})")
# Units of times -> seconds.
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_NUMBER = r"([0-9]{1,30}(?:\.[0-9]{0,30})?(?:e[+-]?[0-9]{1,2})?|\.[0-9]{1,30})"
_TIME = re.compile(_NUMBER + r" ?([a-zµ]{0,3})")
_COUNT = re.compile(r"[0-9]{1,30}")
_SHARE = re.compile(_NUMBER + r" ?(%?)")
# From here on numbers with decimals have no half-way cases.
MOST_FIXED = 1e15
# How sizes may be written, for error messages.
_REMEDY = "write bytes as 262144, 256KiB, 1MiB or 1.5MB"


def parse_size(text: str) -> int:
    """Bytes that a text such as `262144`, `256KiB` or `1.5MB` stands for.

    Units are B, kB, MB, GB, TB, PB, EB (powers of 1000) and KiB .. EiB (powers of 1024), upper
    or lower case. Where a unit leaves a fraction of a byte (`1.33KiB`) it is rounded down, so that
    a capacity is never larger than stated.

    Raises:
        UsageError: the text is no size, is negative, is no whole number of bytes, or is larger
            than `MAX_SIZE_BYTES`.
    """
    shown = _shown(text)
    stripped = text.strip()
    if stripped.startswith("-"):
        raise UsageError(f"a size cannot be negative, found {shown!r}; {_REMEDY}")
    match = _SIZE.fullmatch(stripped.lower())
    if match is None:
        raise UsageError(f"{shown!r} is not a size; {_REMEDY}")
    number, unit = match.groups()
    factor = _FACTORS.get(unit or "b")
    if factor is None:
        units = ", ".join((*DECIMAL_UNITS, *BINARY_UNITS[1:]))
        raise UsageError(f"unknown unit in the size {shown!r}; known: {units}")
    exact = Decimal(number) * factor
    if exact > MAX_SIZE_BYTES:
        raise UsageError(f"{shown!r} is too large; a size is at most 2**62 bytes (4EiB)")
    if factor == 1 and exact != int(exact):
        raise UsageError(f"{shown!r} is not a whole number of bytes; {_REMEDY}")
    return int(exact)


def parse_time(text: str, what: str) -> float:
    """Seconds that a text such as `11ms`, `250us`, `1.5 s`, `2min` or `0.011` stands for.

    Args:
        text: a number, with a unit or in seconds.
        what: the option that it is given for, for messages.

    Raises:
        UsageError: the text is no time, or is negative.
    """
    match = _TIME.fullmatch(text.strip().lower())
    if match is None or (match[2] or "s") not in SECONDS:
        raise UsageError(
            f"{what} takes a time of at least 0 in seconds or with a unit ({', '.join(SECONDS)}: "
            f"0.011, 11ms, 250us), not {_shown(text)!r}"
        )
    return float(match[1]) * SECONDS[match[2] or "s"]


def parse_count(text: str, what: str) -> int:
    """The whole number from 1 to 2**62 that a text stands for.

    Args:
        text: decimal digits.
        what: the option that it is given for, for messages.

    Raises:
        UsageError: the text is none.
    """
    number = int(text) if _COUNT.fullmatch(text) else 0
    if not 1 <= number <= MAX_SIZE_BYTES:
        raise UsageError(
            f"{what} takes a whole number of at least 1 and at most 2**62, not {_shown(text)!r}"
        )
    return number


def parse_share(text: str, what: str) -> float:
    """The share that a text such as `1%` or `0.01` stands for.

    Args:
        text: a number, in percent where it says so; from 1 on it must say so.
        what: the option that it is given for, for messages.

    Raises:
        UsageError: the text is no share, is negative, or is 1 or more and does not say whether
            that is a percentage.
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{what} takes a share of at least 0 (1%, 0.01), not {_shown(text)!r}")
    number = float(match[1])
    if number >= 1 and not match[2]:
        raise UsageError(
            f"{what} {_shown(text)}: {number:g} % or {100 * number:g} %? Write {number:g}% or "
            f"{100 * number:g}%; without a percent sign a share is below 1 (0.01 is 1%)"
        )
    return number / (100.0 if match[2] else 1.0)


def _shown(text: str) -> str:
    """A text that may be long, shortened for a message."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun: `1 transfer`, `2 transfers`.

    Args:
        number: how many.
        one: the noun in the singular.
        several: its plural, where that is not with an `s`.
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def listed(names: Collection[str], most: int) -> str:
    """Names in a row, and how many are left out: `a, b and 3 more`.

    Args:
        names: all of them.
        most: how many are written.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more


def fixed(number: float, places: int) -> str:
    """A number with decimals; half-way cases away from zero, as JavaScript's `toFixed` has it.

    So the report's page, which rounds by itself, shows the same digits as the terminal.
    """
    if not abs(number) < MOST_FIXED:
        return f"{number:.{places}f}"
    return str(Decimal(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def _significant(number: float, digits: int) -> float:
    """A number rounded to significant digits; half-way cases away from zero (`toPrecision`)."""
    return float(Context(prec=digits, rounding=ROUND_HALF_UP).plus(Decimal(number)))


def format_size(size_bytes: int) -> str:
    """A size in binary units with at most two decimals: `1.5 KiB`, `64 MiB`."""
    magnitude = abs(size_bytes)
    power = min(max(magnitude.bit_length() - 1, 0) // 10, len(BINARY_UNITS) - 1)
    if power + 1 < len(BINARY_UNITS) and float(fixed(magnitude / 1024**power, 2)) >= 1024:
        power += 1  # 1048575 bytes are 1 MiB, not 1024 KiB
    number = fixed(magnitude / 1024**power, 2).rstrip("0").rstrip(".")
    sign = "-" if size_bytes < 0 else ""
    return f"{sign}{number} {BINARY_UNITS[power]}"


def told_apart(*sizes_bytes: int) -> list[str]:
    """Sizes in binary units; all in bytes where two that differ would read alike."""
    texts = [format_size(size) for size in sizes_bytes]
    if len(set(texts)) == len(set(sizes_bytes)):
        return texts
    return [f"{size} B" for size in sizes_bytes]


def format_time(seconds: float) -> str:
    """A time with four significant digits in the largest fitting unit: `12.03 ms`, `4 s`."""
    if seconds == 0 or not math.isfinite(seconds):
        return f"{seconds:g} s"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        # Rounded first, so that 0.99999 s is 1 s and not 1000 ms.
        if _significant(abs(seconds) * scale, 4) >= 1:
            return f"{_four_digits(seconds * scale)} {unit}"
    return f"{_four_digits(seconds * 1e9)} ns"


def format_energy(joules: float) -> str:
    """An energy with four significant digits in the largest fitting unit: `5.359 mJ`, `41 pJ`."""
    if joules == 0 or not math.isfinite(joules):
        return f"{joules:g} J"
    for unit, scale in (("J", 1.0), ("mJ", 1e3), ("uJ", 1e6), ("nJ", 1e9)):
        if _significant(abs(joules) * scale, 4) >= 1:
            return f"{_four_digits(joules * scale)} {unit}"
    return f"{_four_digits(joules * 1e12)} pJ"


def format_count(number: float) -> str:
    """A count or a rate with four significant digits: `93.14`, `13120`, `349.2 M`, `1.2 G`.

    Whole numbers below a million stand in full; from there on the unit is a letter for thousands.
    """
    if not math.isfinite(number):
        return f"{number:g}"
    if abs(number) < 1e6 and float(number).is_integer():
        return f"{number:.0f}"
    rounded = _significant(number, 4)
    for letter, scale in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if abs(rounded) >= scale:
            return f"{_four_digits(rounded / scale)} {letter}"
    return _four_digits(rounded)


def _four_digits(number: float) -> str:
    """Four significant digits without an exponent, where the number is 1 or larger."""
    return fixed(number, 0) if abs(number) >= 1000 else f"{_significant(number, 4):.4g}"


def percent_above(share: float) -> str:
    """A distance in percent; one that is open, above `CLOSED`, never reads as 0.00 %.

    One below nothing by no more than rounding reads as nothing.
    """
    if CLOSED < share < SMALLEST_SHOWN:
        return f"{_significant(100 * share, 1):.1g} %"
    return f"{fixed(100 * (0.0 if -CLOSED <= share <= 0 else share), 2)} %"


def objective_text(value: float, objective: str) -> str:
    """An objective's value with its unit."""
    if objective == "latency":
        return format_time(value)
    if objective == "energy":
        return format_energy(value)
    return format_size(round(value))
