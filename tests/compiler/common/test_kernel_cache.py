"""Kernels are kept by what they are compiled from, and found by later processes, or not at all."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernel_project import answer, write_project
from ullage.compiler.common import kernel_cache
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.common.kernel_cache import (
    cache_folder,
    can_keep,
    compiling_told,
    is_compiled,
    kernel,
    kernel_sources,
    not_compiled,
)
from ullage.compiler.common.kernel_store import COMPILING, activity


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


@pytest.fixture
def quiet() -> Iterator[None]:
    """What a test does to the process's activity is undone."""
    before = dict(vars(activity))
    yield
    vars(activity).update(before)


def test_a_later_process_compiles_nothing(project: Path) -> None:
    assert answer(project, "20") == ("42 2 0", "")
    assert answer(project, "20") == ("42 0 1", "")
    assert answer(project, "20", "2.5") == ("42 7.0 2 1", "")  # other types
    for file in project.glob("*.py"):
        os.utime(file, (1, 1))
    assert answer(project, "20", "2.5") == ("42 7.0 0 2", "")


@pytest.mark.parametrize("name", ["constants", "callee"])
def test_stale_kernels_are_never_found(project: Path, name: str) -> None:
    assert answer(project, "20")[0] == "42 2 0"
    source = project / f"{name}.py"
    changed = source.read_text(encoding="utf-8").replace("STEP = 1", "STEP = 3")
    changed = changed.replace("value + STEP", "value - STEP")
    times = source.stat()
    source.write_text(changed, encoding="utf-8")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert answer(project, "20")[0] == {"constants": "46 2 0", "callee": "38 2 0"}[name]


def test_where_nothing_can_be_written_kernels_work_and_one_line_says_so(project: Path) -> None:
    folder = str(project / "callee.py" / "cache")
    for _ in range(2):
        out, err = answer(project, "20", "2.5", ULLAGE_CACHE_DIR=folder)
        assert out == "42 7.0 4 0"
        assert err.count("\n") == 1
        assert "cannot be kept" in err
        assert folder in err
        assert "set ULLAGE_CACHE_DIR" in err


def test_numba_can_be_switched_off(project: Path) -> None:
    assert answer(project, "20", NUMBA_DISABLE_JIT="1") == ("42 0 0", "")


def test_the_folder_is_the_one_of_the_system_or_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("ULLAGE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for platform, folder in (
        ("linux", ".cache"),
        ("darwin", "Library/Caches"),
        ("win32", "AppData/Local"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == tmp_path / folder / "ullage" / "kernels"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard: to be ignored
    assert cache_folder() == tmp_path / ".cache" / "ullage" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ullage" / "kernels"
    monkeypatch.setenv("ULLAGE_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" / "kernels"


@pytest.mark.usefixtures("quiet")
def test_nobodys_home_is_no_folder(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("ULLAGE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(kernel_cache.Path, "home", nowhere)
    activity.unwritable = ""
    assert cache_folder() is None
    assert not can_keep()
    assert not can_keep()
    assert [record.message for record in caplog.records if "no home folder" in record.message] == [
        caplog.records[-1].message
    ]


@pytest.mark.usefixtures("quiet")
def test_a_kernel_in_memory_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_cache, "kernel_folder", lambda _: tmp_path / "here")

    @kernel()
    def half(value: float) -> float:
        return value / 2

    assert not is_compiled(half)
    assert half(5.0) == 2.5
    assert is_compiled(half)
    assert list((tmp_path / "here").glob("*half-*.kernel"))


@pytest.mark.usefixtures("quiet")
def test_whoever_waits_is_told_and_then_told_what_goes_on() -> None:
    told: list[str] = []
    with compiling_told(told.append) as outer, compiling_told(outer) as tell:
        tell("solving")
        activity.begins()
        activity.begins()  # a kernel that the first one calls
        activity.ends()
        activity.ends()
        tell("verifying")
    assert told == ["solving", COMPILING, "solving", "verifying"]
    activity.begins()
    activity.ends()
    assert len(told) == 4


def test_sources_are_the_modules_with_kernels_and_what_they_import() -> None:
    from ullage.rl_agent.policy import decode
    from ullage.solvers.annealing import anneal

    game = {name.rpartition(".")[2] for name, _ in kernel_sources(decode.__name__)}
    assert {"decode", "trial", "mechanics", "state"} <= game
    assert not game & {"players", "observe", "arena", "kernel_cache"}
    search = {name.rpartition(".")[2] for name, _ in kernel_sources(anneal.__name__)}
    assert search >= {"anneal", "moves", "residencies", "address", "tables"}
    assert "search" not in search
    assert {"costs", "transfers", "addresses", "tables", "jit"} <= game & search


def test_the_error_names_solver_seconds_and_remedy() -> None:
    error = not_compiled("rl", 60.0, 4.5)
    assert isinstance(error, TimeLimitError)
    assert error.exit_code == 6
    for part in ("kernels of rl ", "60 s", "4.5 s", "`ullage warm-up`", "--time-limit"):
        assert part in error.message
    assert error.details == {"solver": "rl", "needed_s": 60.0, "available_s": 4.5}
