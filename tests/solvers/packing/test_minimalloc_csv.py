"""MiniMalloc CSV files: a round trip, and errors that name the line and the remedy."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ullage.compiler.common.errors import UsageError
from ullage.solvers.packing.minimalloc_csv import (
    BufferTable,
    read_minimalloc_csv,
    write_minimalloc_csv,
)


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "buffers.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_reads_columns_in_any_order(tmp_path: Path) -> None:
    path = write(
        tmp_path, "\ufeffsize, ID ,upper,lower,offset\r\n\r\n16,a,3,-1,7\r\n0, b ,9,3,\r\n"
    )
    assert read_minimalloc_csv(path) == BufferTable(("a", "b"), (-1, 3), (3, 9), (16, 0))


names = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\x00"), min_size=1)
buffers = st.lists(
    st.tuples(names, st.integers(-(2**40), 2**40), st.integers(1, 99), st.integers(0, 2**40)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(buffers)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    ids, lower, durations, sizes = zip(*rows, strict=True)
    upper = tuple(a + b for a, b in zip(lower, durations, strict=True))
    table = BufferTable(ids, lower, upper, sizes)
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    write_minimalloc_csv(path, table, range(len(ids)))
    assert read_minimalloc_csv(path) == table
    with path.open(newline="", encoding="utf-8") as file:
        assert [int(row["offset"]) for row in csv.DictReader(file)] == list(range(len(ids)))
    assert [entry.name for entry in path.parent.iterdir()] == ["out.csv"]


HEADER = "id,lower,upper,size\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line must be id,lower,upper,size"),
        (HEADER, "no buffers"),
        ("id,lower,upper\n1,2,3\n", "line 1: no column size"),
        ("id,lower,upper,size,size\n1,2,3,4,5\n", "line 1: a column appears twice"),
        (HEADER + "1,0,5,8\n2,0,5\n", "line 3: 3 fields where the header has 4"),
        (HEADER + "1,0,5,8,9\n", "line 2: 5 fields"),
        (HEADER + ",0,5,8\n", "line 2: the id is empty"),
        (HEADER + "1,0,5,8\n\n1,0,5,8\n", "line 4: id '1' was used in line 2"),
        (HEADER + "1,0,5,8.5\n", "line 2: size is '8.5', not a whole number"),
        (HEADER + "1,0,5,0x10\n", "not a whole number"),
        (HEADER + "1,\u0660,5,1\n", "not a whole number"),
        (HEADER + "1,0,--5,1\n", "not a whole number"),
        (HEADER + "1,0,5," + "9" * 6000 + "\n", "line 2: size is beyond 2"),
        (HEADER + "1,0,5,-8\n", "line 2: size -8 is negative"),
        (HEADER + "1,5,5,8\n", "line 2: upper 5 is not above lower 5; lifetimes are half-open"),
        (HEADER + f"1,0,5,{2**62}\n2,0,5,1\n", "line 3: sizes up to here exceed"),
        ("id,lower,upper,size,gaps\n1,0,5,8,2-3\n", "line 2: column 'gaps' has a value"),
        ("id,lower,upper,size,alignment\n1,0,5,8,64\n", "column 'alignment' has a value"),
        (HEADER.encode() + b"1,0,5,8\n\xff\xfe,0,5,8\n", "line 3: not UTF-8 text"),
        (HEADER + '1,0,5,"8\n', "line 2: not CSV"),
        (HEADER + "x" * 200_000 + ",0,5,8\n", "line 2: not CSV"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_minimalloc_csv(path)
    assert message in caught.value.message
    assert len(caught.value.message) < 500 + len(str(path))


def test_unreadable_paths_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.csv", tmp_path / "nul\0.csv"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_minimalloc_csv(path)


def test_unwritable_paths_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    table = BufferTable(("1",), (0,), (1,), (1,))
    for path in (tmp_path / "absent" / "out.csv", tmp_path, tmp_path / "nul\0.csv"):
        with pytest.raises(UsageError, match="cannot be written"):
            write_minimalloc_csv(path, table, [0])
    assert not list(tmp_path.iterdir())


def test_writing_replaces_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path, "old")
    write_minimalloc_csv(path, BufferTable(("a,b",), (0,), (1,), (1,)), [64])
    assert path.read_text() == 'id,lower,upper,size,offset\n"a,b",0,1,1,64\n'
