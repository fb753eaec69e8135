"""Suites: products of lists, models by name, file or pattern, and what is wrong in words."""

import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.support.small_nets import chain
from ullage.compiler.bench.suite import (
    NeedsModelsError,
    Row,
    key_of,
    list_suites,
    load_suite,
    row_of,
    settings_of,
)
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.importer.model_zoo import find_model, named_models


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", list_suites())
def test_shipped_suites_load(name: str, tmp_path: Path) -> None:
    if name in {"state", "training"}:
        with pytest.raises(NeedsModelsError, match="--models DIR") as raised:
            load_suite(name)
        assert raised.value.details["title"]
        onnx.save(chain(), tmp_path / "chain.onnx")
        suite = load_suite(name, tmp_path)
    else:
        suite = load_suite(name)
    assert suite.title
    assert len(set(suite.rows)) == len(suite.rows) > 0


def test_a_grid_is_the_product_of_its_lists(tmp_path: Path) -> None:
    text = """
title = "two by two by two"
memory = "1GiB"
time_limit = "5s"
[[grids]]
models = ["squeezenet", "resnet50"]
solvers = ["greedy", "fluid"]
fast_memory = ["64KiB", "1MiB"]
set = { split_operands = "false" }
dim = { N = 2 }
[[grids]]
models = "squeezenet"
solvers = ["greedy", "greedy"]
steady_state = true
time_limits = ["250ms"]
"""
    suite = load_suite(written(tmp_path, text))
    assert (suite.name, suite.memory_bytes, len(suite.rows)) == ("mine", 2**30, 9)
    first, last = suite.rows[0], suite.rows[-1]
    assert first == Row(
        "squeezenet",
        fast_memory="64KiB",
        solver="greedy",
        time_limit_s=5.0,
        overrides=(("split_operands", "false"),),
        dims=(("N", 2),),
    )
    assert (last.steady_state, last.time_limit_s, last.overrides) == (True, 0.25, ())


def test_quantities_and_switches_may_be_plain_numbers_and_yes_or_no(tmp_path: Path) -> None:
    grid = "[[grids]]\nmodels = 'squeezenet'\n"
    plain = (
        "memory = {0}\n{1}fast_memory = [{0}]\ntime_limits = [{2}]\nset = {{ a = {3}, b = {2} }}\n"
    )
    texts = plain.format('"1073741824"', grid, '"0.5"', '"true"')
    numbers = plain.format("1073741824", grid, "0.5", "true")
    suite = load_suite(written(tmp_path, numbers))
    assert suite == load_suite(written(tmp_path, texts))
    assert suite.rows[0].overrides == (("a", "true"), ("b", "0.5"))


def test_models_are_names_files_and_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a.onnx", "b.onnx", "c.json"):
        (folder / name).write_bytes(b"")
    text = '[[grids]]\nmodels = ["*"]\n'
    everything = load_suite(written(tmp_path, text), folder)
    assert [Path(row.model).name for row in everything.rows] == ["a.onnx", "b.onnx"]
    assert len(load_suite(written(tmp_path, text)).rows) == len(named_models())
    (folder / "b-folder.onnx").mkdir()
    text = '[[grids]]\nmodels = ["models/b*.onnx", "models/c.json"]\n'
    beside = load_suite(written(tmp_path, text))
    assert [Path(row.model).name for row in beside.rows] == ["b.onnx", "c.json"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[grids", "not a suite"),
        ("", "has none"),
        ("colour = 1", "unknown field 'colour'"),
        ("memory = 5\n[[grids]]\nmodels='*'", "memory is '5'; a process needs at least 64 MiB"),
        ("[[grids]]\nsolvers = ['greedy']", "names no models"),
        ("[[grids]]\nmodels = []", "models is an empty list"),
        ("[[grids]]\nmodels = '*'\nseeds = ['1']", "of type int"),
        ("[[grids]]\nmodels = '*'\nseeds = [true]", "of type int"),
        ("[[grids]]\nmodels = '*'\nsolver = ['greedy']", "unknown field 'solver'"),
        ("[[grids]]\nmodels = '*'\nset = { a = [1] }", "set is a table of str"),
        ("[[grids]]\nmodels = '*'\ntargets = ['no-such-chip']", "unknown target"),
        ("[[grids]]\nmodels = '*'\nfast_memory = ['many']", "many"),
        ("[[grids]]\nmodels = 'x*.onnx'", "no file matches"),
        ("grids = [1]", "a grid is a table"),
        (
            "[[grids]]\nmodels = '*'\nseeds = [" + ",".join(map(str, range(20000))) + "]",
            "more than 100000 rows",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        load_suite(written(tmp_path, text))


def test_a_suite_or_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no suite 'nothing'; there are: cosma"):
        load_suite("nothing")
    with pytest.raises(ModelError):
        load_suite(written(tmp_path, "[[grids]]\nmodels = 'nothing'"))


def test_keys_tell_what_a_result_depends_on(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(find_model("squeezenet").read_bytes())
    row = Row(str(model), target="edge-npu")
    keys = {
        key_of(row, "1"),
        key_of(row, "2"),
        key_of(replace(row, seed=1), "1"),
        key_of(replace(row, target="edge-npu-spm"), "1"),
        key_of(replace(row, overrides=(("split_operands", "false"),)), "1"),
    }
    model.write_bytes(b"other")
    keys.add(key_of(row, "1"))
    assert len(keys) == 6
    assert key_of(row, "1") in keys


def test_rows_survive_json() -> None:
    row = Row("m", parameters=(("a", "b"),), dims=(("N", 3),), time_limit_s=2.5)
    assert row_of(settings_of(row)) == row
    assert row.text == "m, auto"


def test_problem_files_are_not_read_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"format": "ullage-problem"}')
    plain = "[[grids]]\nmodels = 'p.json'\n"
    assert len(load_suite(written(tmp_path, plain)).rows) == 1
    for field in ("dim = { N = 2 }", "dtypes = 'int8'"):
        with pytest.raises(UsageError, match="is a problem file"):
            load_suite(written(tmp_path, plain + field))


def test_what_no_row_could_run_with_is_refused_before_any_runs(tmp_path: Path) -> None:
    grid = '[[grids]]\nmodels = "squeezenet"\n'
    for line, told in {
        'objectives = ["speed"]': "grid 0: objectives: there is no 'speed'; there are: latency",
        'orders = ["zz"]': "grid 0: orders: there is no 'zz'",
        'dtypes = ["int99"]': "grid 0: dtypes: ",
        'targets = ["nowhere"]': "grid 0: targets: ",
        'fast_memory = ["-5KiB"]': "grid 0: fast_memory: a size cannot be negative",
        "fast_memory = [true]": "grid 0: fast_memory: ",
        "fast_memory = [nan]": "grid 0: fast_memory: ",
        "time_limits = [-1]": "grid 0: time_limits takes a time of at least 0",
        'solvers = ["gredy"]': "grid 0: solvers: there is no 'gredy'; there are: all-slow",
        'solvers = [""]': "grid 0: solvers: there is no ''",
        'states = ["past"]': "grid 0: states: 'past' is neither",
        "set = { a = [1] }": "grid 0: set is a table of str",
        'seeds = [0]\n[[grids]]\nmodels = ""': "grid 1: models has an empty text",
        "seeds = [-1]": "grid 0: seeds: -1 is not from 0",
        "seeds = []": "seeds is an empty list",
    }.items():
        with pytest.raises(UsageError, match=re.escape(told)):
            load_suite(written(tmp_path, grid + line))
    with pytest.raises(UsageError, match="memory: a size cannot be negative"):
        load_suite(written(tmp_path, 'memory = "-1GiB"\n' + grid))
    with pytest.raises(UsageError, match="nested too deep"):
        load_suite(written(tmp_path, "a = " + "[" * 3000 + "]" * 3000))
