"""Suites and comparisons on Ray: what one process finds, byte for byte."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.timeless import timeless

SUITE = """[[grids]]
models = "squeezenet"
targets = "edge-npu"
fast_memory = "256KiB"
solvers = ["all-slow", "greedy"]
schedules = "whole"
dtypes = "int8"
[[grids]]
models = "squeezenet"
solvers = "greedy"
param = { nothing = 1 }
"""
PROGRAM = "from ullage.cli.main import main; main()"


def said(*words: object) -> Any:
    """What a command says, in a process of its own: Ray forks, and JAX forbids that."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_ray_gives_the_same_table(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE)
    for name, options in (("one", ()), ("ray", ("--engine", "ray", "--jobs", "2"))):
        said("bench", "--suite", suite, "-o", tmp_path / name, *options)
    for name in ("results.csv", "results.json"):
        one, ray = ((tmp_path / folder / name).read_bytes() for folder in ("one", "ray"))
        assert one == ray
    assert len(json.loads(ray)) == 3


@pytest.mark.wide(0)
def test_ray_gives_the_same_comparison() -> None:
    pytest.importorskip("ray")
    words = ("compare", "squeezenet", "--solvers", "greedy,all-slow", "--fast-memory", "256KiB")
    one = said(*words, "--dtype", "int8")
    ray = said(*words, "--dtype", "int8", "--engine", "ray", "--jobs", "2")
    assert timeless(ray) == timeless(one)
