"""Kernels count as compiled when they are in memory, or on disk and newer than their sources."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ullage.compiler.common.kernel_cache import drop_stale, is_compiled, kernel_sources


def kernel_in(folder: Path, *, in_memory: bool = False) -> Any:
    """What of numba's dispatcher is looked at."""
    return SimpleNamespace(
        signatures=["a type"] if in_memory else [],
        stats=SimpleNamespace(cache_path=str(folder)),
        py_func=SimpleNamespace(__module__="package.module", __qualname__="search"),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text("pass", encoding="utf-8")
    os.utime(path, (1000, 1000))
    return path


def test_a_kernel_in_memory_is_compiled(tmp_path: Path, source: Path) -> None:
    assert is_compiled(kernel_in(tmp_path, in_memory=True), [source])
    assert not is_compiled(kernel_in(tmp_path), [source])


@pytest.mark.parametrize(
    ("name", "time_s", "expected"),
    [
        ("module.search-12.py311.nbi", 2000, True),
        ("module.search-12.py311.nbi", 500, False),  # the source has changed since
        ("module.other-12.py311.nbi", 2000, False),
        ("elsewhere.search-12.py311.nbi", 2000, False),
    ],
)
def test_a_kernel_on_disk_is_compiled_if_newer_than_its_source(
    tmp_path: Path, source: Path, name: str, time_s: float, *, expected: bool
) -> None:
    kept = tmp_path / name
    kept.write_bytes(b"index")
    os.utime(kept, (time_s, time_s))
    assert is_compiled(kernel_in(tmp_path), [source]) is expected


def test_what_is_older_than_a_source_is_dropped(tmp_path: Path, source: Path) -> None:
    called = tmp_path / "called.py"
    called.write_text("pass", encoding="utf-8")
    indexes = {}
    for number, time_s in enumerate((500, 1500, 2500)):
        indexes[time_s] = tmp_path / f"module.search-{number}.py311.nbi"
        indexes[time_s].write_bytes(b"index")
        os.utime(indexes[time_s], (time_s, time_s))
    other = tmp_path / "module.other-1.py311.nbi"
    other.write_bytes(b"index")
    os.utime(other, (1, 1))
    os.utime(called, (900, 900))
    drop_stale(kernel_in(tmp_path), [source, called])
    assert [time_s for time_s, file in indexes.items() if file.exists()] == [1500, 2500]
    os.utime(called, (2000, 2000))
    drop_stale(kernel_in(tmp_path), [source, called])
    assert [time_s for time_s, file in indexes.items() if file.exists()] == [2500]
    assert other.exists()


def test_sources_are_the_files_with_kernels_and_those_named(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name, text in (
        ("kernel.py", "\n@compiled\ndef f(): ...\n"),
        ("deeper/kernel.py", "\n@compiled\ndef f(): ...\n"),
        ("caller.py", "from kernel import f, compiled\n"),
        ("types.py", ""),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = [file.relative_to(tmp_path).as_posix() for file in kernel_sources(tmp_path, "types.py")]
    assert sorted(found) == ["deeper/kernel.py", "kernel.py", "types.py"]


def test_the_kernels_of_game_and_search_are_among_their_sources() -> None:
    from ullage.rl_agent.env.compiled import sources as of_game
    from ullage.solvers.annealing.moves import sources as of_search

    game, search = ({file.name for file in found()} for found in (of_game, of_search))
    assert {
        "decode.py",
        "trial.py",
        "mechanics.py",
        "rules.py",
        "game_instance.py",
        "arena.py",
    } <= game
    assert {"anneal.py", "moves.py", "runs.py", "tables.py"} <= search
    assert "players.py" not in game
    assert "search.py" not in search
