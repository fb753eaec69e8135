"""Kernels count as compiled when they are in memory, or on disk and newer than their sources."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ullage.solvers.kernel_cache import is_compiled


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
