"""The examples run as a user would run them."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs_and_is_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 45
    for need in re.findall(r"^Needs ([\w-]+)\.$", text, re.MULTILINE):
        if find_spec(need) is None and shutil.which(need) is None:
            _says_what_is_missing(path)
            pytest.skip(f"needs {need}")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bdram\b|bytes of planned memory|bytes by memory", done.stdout)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_compiler_in_cpp_writes_a_problem_and_reads_the_plan(tmp_path: Path) -> None:
    source = EXAMPLES[0].parent / "own_compiler.cpp"
    assert len(source.read_text(encoding="utf-8").splitlines()) < 100
    built = tmp_path / "own_compiler"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, str(source), "-o", str(built)], check=True, timeout=240)
    command = f"'{sys.executable}' -c 'from ullage.cli.start import main; main()'"
    done = subprocess.run(
        [str(built), str(tmp_path), command],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert "features" in done.stdout
    assert " sram " in done.stdout
    assert (tmp_path / "solution.json").exists()


def _says_what_is_missing(path: Path) -> None:
    """Check that an example without what it needs says so, and how to get it."""
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 1
    assert "this example needs" in done.stderr
    assert "Traceback" not in done.stderr
