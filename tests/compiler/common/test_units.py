"""Sizes and times: what is accepted, what is refused, and that printing loses little."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.units import (
    MAX_SIZE_BYTES,
    counted,
    format_count,
    format_energy,
    format_size,
    format_time,
    parse_count,
    parse_share,
    parse_size,
    parse_time,
    percent_above,
    told_apart,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("262144", 262144),
        ("256KiB", 262144),
        ("1MiB", 1 << 20),
        ("1.5MB", 1_500_000),
        ("1.5 MiB", 3 << 19),
        (" 64kb ", 64_000),
        ("8e9", 8_000_000_000),
        ("2GiB", 2 << 30),
        ("1B", 1),
        ("1.33KiB", 1361),
        ("4EiB", MAX_SIZE_BYTES),
    ],
)
def test_sizes_accepted(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not a size"),
        ("lots", "is not a size"),
        ("MiB", "is not a size"),
        ("1MiBs", "is not a size"),
        ("1 2", "is not a size"),
        ("1_000", "is not a size"),
        ("0x10", "is not a size"),
        ("٣KiB", "is not a size"),
        ("nan", "is not a size"),
        ("inf", "is not a size"),
        ("1e999999999", "is not a size"),
        ("1" * 100_000, "is not a size"),
        ("-1KiB", "cannot be negative"),
        ("-inf", "cannot be negative"),
        ("5Mib2", "is not a size"),
        ("5KX", "unknown unit"),
        ("5K", "unknown unit"),
        ("1.5", "whole number of bytes"),
        ("0.5B", "whole number of bytes"),
        ("4611686018427387905", "at most 2\\*\\*62"),
        ("9e99EiB", "at most 2\\*\\*62"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        parse_size(text)
    assert len(caught.value.message) < 200


@given(st.text(max_size=50))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        size_bytes = parse_size(text)
    except UsageError:
        return
    assert 0 <= size_bytes <= MAX_SIZE_BYTES


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (16000, "15.63 KiB"),  # 15.625: half-way cases away from zero
        (15488, "15.13 KiB"),  # 15.125
        (-16000, "-15.63 KiB"),
        (1048575, "1 MiB"),
        (1 << 20, "1 MiB"),
        (MAX_SIZE_BYTES, "4 EiB"),
        (-1536, "-1.5 KiB"),
    ],
)
def test_sizes_printed(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_sizes_that_would_read_alike_are_told_in_bytes() -> None:
    assert told_apart(180480, 180480, 0) == ["176.25 KiB", "176.25 KiB", "0 B"]
    assert told_apart(180481, 180480, 1) == ["180481 B", "180480 B", "1 B"]
    assert told_apart(2048, 1024, 1024) == ["2 KiB", "1 KiB", "1 KiB"]


@given(st.integers(0, MAX_SIZE_BYTES - (1 << 56)))
def test_a_printed_size_reads_back_within_its_two_decimals(size_bytes: int) -> None:
    text = format_size(size_bytes)
    assert abs(parse_size(text) - size_bytes) <= max(size_bytes, 1) * 0.0051
    assert 0 <= float(text.split()[0]) < 1024


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (4.0, "4 s"),
        (12345.6, "12346 s"),
        (0.01203, "12.03 ms"),
        (0.99999, "1 s"),
        (1.0625, "1.063 s"),
        (1.0635e4, "10635 s"),
        (1000.5, "1001 s"),
        (1.28e-7, "128 ns"),
        (2.5e-6, "2.5 us"),
        (5e-10, "0.5 ns"),
        (-0.002, "-2 ms"),
        (math.inf, "inf s"),
    ],
)
def test_times_printed(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


def test_times_are_seconds_or_carry_a_unit() -> None:
    texts = {"0.011": 0.011, "11ms": 0.011, "250 us": 250e-6, "2µs": 2e-6, "5ns": 5e-9, ".5s": 0.5}
    texts |= {"2min": 120.0, "1h": 3600.0, "1e-3": 1e-3, "3.": 3.0, " 7 S ": 7.0, "0": 0.0}
    for text, seconds in texts.items():
        assert parse_time(text, "--time-limit") == pytest.approx(seconds, rel=1e-12)


def test_shares_are_numbers_or_percents() -> None:
    for text, share in {"1%": 0.01, "0.01": 0.01, "2.5 %": 0.025, "0": 0.0, "150%": 1.5}.items():
        assert parse_share(text, "--within") == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("text", ["1", "5", "1.5", "200"])
def test_a_share_from_one_on_says_whether_it_is_a_percentage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_share(text, "--fail-if-slower")
    number = float(text)
    assert f"{number:g}%" in caught.value.message
    assert f"{100 * number:g}%" in caught.value.message


def test_energies_have_the_unit_that_fits() -> None:
    shown = {
        0.0: "0 J",
        2.5: "2.5 J",
        0.99999: "1 J",
        5.3594e-3: "5.359 mJ",
        4.554e-4: "455.4 uJ",
        5.12e-9: "5.12 nJ",
        3e-12: "3 pJ",
        4e-16: "0.0004 pJ",
        1234.5: "1235 J",
    }
    assert {joules: format_energy(joules) for joules in shown} == shown


def test_counts_have_no_exponent() -> None:
    shown = {
        0: "0",
        64: "64",
        51_384: "51384",
        999_999: "999999",
        0.5: "0.5",
        93.1412: "93.14",
        13_123.4: "13120",
        999_999.9: "1 M",
        8_388_608: "8.389 M",
        3.077e7: "30.77 M",
        1.25e8: "125 M",
        2.5e12: "2.5 T",
        7e18: "7000 P",
    }
    assert {number: format_count(number) for number in shown} == shown


@pytest.mark.parametrize(
    "text", ["", "-1", "1 week", "nan", "inf", "ms", "1e999", "1,5", "٣", "9" * 50]
)
def test_what_is_no_time_nor_share_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--time-limit"):
        parse_time(text, "--time-limit")
    with pytest.raises(UsageError, match="--within"):
        parse_share(text, "--within")


def test_nouns_agree_with_their_numbers() -> None:
    assert [counted(n, "transfer") for n in (0, 1, 2)] == [
        "0 transfers",
        "1 transfer",
        "2 transfers",
    ]
    assert counted(1, "residency", "residencies") == "1 residency"
    assert counted(3, "residency", "residencies") == "3 residencies"


@pytest.mark.parametrize("text", ["1", "007", str(2**62)])
def test_counts_accepted(text: str) -> None:
    assert parse_count(text, "--dim n") == int(text)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "1.0", "1e3", " 1", "1_0", "\u0663", str(2**62 + 1), "9" * 5000]
)
def test_counts_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--dim n takes a whole number .* at most 2\*\*62"):
        parse_count(text, "--dim n")


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-1e-9, "0.00 %"),
        (-0.0, "0.00 %"),
        (1e-9, "0.00 %"),
        (2e-6, "0.0002 %"),
        (-0.25, "-25.00 %"),
        (0.1, "10.00 %"),
    ],
)
def test_a_distance_from_a_bound_is_open_or_reads_as_nothing(share: float, text: str) -> None:
    assert percent_above(share) == text
