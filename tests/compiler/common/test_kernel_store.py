"""Files of kernels: whole, right, and gone when nobody uses them."""

import os
from pathlib import Path

import pytest

from tests.support.kernel_project import answer, begin, write_project
from ullage.compiler.common.kernel_store import KernelStore


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


def test_processes_at_once_do_not_spoil_each_other(project: Path) -> None:
    running = [begin(project, number) for number in ("20", "2.5", "20", "2.5")]
    outs = [process.communicate(timeout=120) for process in running]
    assert [out.split()[0] for out, _ in outs] == ["42", "7.0", "42", "7.0"]
    assert [err for _, err in outs] == [""] * 4
    assert answer(project, "20", "2.5") == ("42 7.0 0 2", "")


def test_a_damaged_file_is_compiled_anew(project: Path) -> None:
    answer(project, "20")
    kept = list(project.glob("cache/kernels/*/twice-*.kernel"))
    kept[0].write_bytes(kept[0].read_bytes()[:-100])
    out, err = answer(project, "20")
    assert out == "42 1 1"
    assert "is damaged" in err
    assert answer(project, "20") == ("42 0 1", "")


def test_a_damaged_file_does_not_count_as_compiled(project: Path) -> None:
    """Otherwise a time limit would be missed by the time that compiling takes."""
    answer(project, "20")
    (kept,) = project.glob("cache/kernels/*/twice-*.kernel")
    store = KernelStore(kept.parent, "twice", "{}")
    assert store.is_whole()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert store.holds_any()
    assert not store.is_whole()


def test_folders_that_were_not_used_for_a_month_are_dropped(project: Path) -> None:
    kernels = project / "cache" / "kernels"
    for name in ("caller-0123", "callee-4567"):
        (kernels / name).mkdir(parents=True)
    os.utime(kernels / "caller-0123", (1, 1))
    answer(project, "20")
    found = {path.name for path in kernels.iterdir()}
    assert "caller-0123" not in found
    assert "callee-4567" in found
    assert len(found) == 3


def test_the_store_of_no_folder_holds_nothing() -> None:
    store = KernelStore(None, "half", "{}")
    assert store.cache_path is None
    assert not store.holds_any()
    store.flush()


def test_what_is_flushed_is_gone(tmp_path: Path) -> None:
    for name in ("half-01.kernel", "half-23.kernel", "halves-01.kernel"):
        (tmp_path / name).touch()
    store = KernelStore(tmp_path, "half", "{}")
    assert store.cache_path == str(tmp_path)
    assert store.holds_any()
    store.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["halves-01.kernel"]
    assert not store.holds_any()
