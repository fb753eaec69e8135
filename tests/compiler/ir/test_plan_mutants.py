"""Changed plan files: loader and published schema refuse the same, and both formats are read."""

import json
from typing import Any

import jsonschema
import pytest

from tests.support.plan_mutants import HOSTILE, mutants_of, paths_of, sample, text_of
from tests.support.plans import PLANS
from tests.support.wide import share
from ullage.compiler.common.errors import MalformedPlanError, UsageError
from ullage.compiler.ir.plan_json import dump_plan, load_plan, published_schema


def format_2() -> dict[str, Any]:
    """A file with every field that there is."""
    document: dict[str, Any] = json.loads(dump_plan(PLANS["spill"]))
    document["model"] = {
        "name": "m",
        "path": None,
        "order": "joint",
        "operator_order": [0, 1],
        "dims": {"N": 3},
        "batch": 2,
        "dtype": "int8",
        "fuse": True,
        "alias": True,
        "steady_state": False,
    }
    document["options"] = {"a": 1, "b": 0.5, "c": True, "d": "x"}
    document["statistics"] = {"nodes": 1.0}
    document["shadow_prices"] = [["sram", 0.1]]
    document["lower_bound"] = document["claimed_bound"] = 0.0
    document["notes"] = ["note"]
    grid = {"rows": 4, "columns": 4, "clock_hz": 1e9, "arrays": 2}
    document["target"]["compute"] |= {"systolic": grid, "energy_j_per_mac": {"int8": 1e-12}}
    document["problem"]["steps"][1]["gemms"] = [{"m": 1, "k": 2, "n": 3, "count": 4}]
    nest = {"kind": "depthwise", "op": "Conv", "kernel": [3, 3], "then": ["Relu"]}
    document["problem"]["steps"][1]["nests"] = [nest]
    document["problem"]["steps"][1]["measured_s"] = 0.5
    return document


def format_1() -> dict[str, Any]:
    """The same file in format 1: no names of links, figures among the options."""
    document = format_2()
    document["format_version"] = 1
    for row in document["target"]["links"]:
        del row["name"], row["max_outstanding_transfers"], row["range_setup_s"]
    for key in ("tile_axes", "fuse_pairs", "bias_dtype", "scale_dtype", "padding", "weight_ratio"):
        del document["target"][key]
    for row in document["transfers"]:
        del row["link"]
    newer = ("statistics", "shadow_prices", "claimed_bound", "claimed_by", "chip_fast_memory_bytes")
    for key in newer:
        del document[key]
    prices = [{"what": "sram", "saves_s": 0.1, "source": "fluid-lp"}]
    document["options"] |= {"prices": prices, "parts_taken": 3.0, "interrupted": True}
    return document


DOCUMENTS = {"format-1": format_1(), "format-2": format_2()}
VALIDATOR = jsonschema.Draft202012Validator(published_schema())


def is_read(document: Any) -> bool:
    try:
        load_plan(text_of(document))
    except UsageError:
        return False
    return True


def test_both_formats_hold_the_same_plan() -> None:
    one, two = (load_plan(text_of(document)) for document in DOCUMENTS.values())
    assert (one.problem, one.residencies, one.transfers) == (
        two.problem,
        two.residencies,
        two.transfers,
    )
    assert one.shadow_prices == two.shadow_prices
    assert one.statistics == {"parts_taken": 3.0}
    assert one.options == two.options


@pytest.mark.parametrize("name", DOCUMENTS)
def test_loader_and_schema_agree_on_changed_files(name: str) -> None:
    document = DOCUMENTS[name]
    assert VALIDATOR.is_valid(document)
    verdicts = set()
    for change, mutant in sample(document, share(400, 150), seed=1):
        read = is_read(mutant)
        assert VALIDATOR.is_valid(mutant) is read, change
        verdicts.add(read)
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_refuses_what_is_no_value_of_it(name: str) -> None:
    """No field takes all of the hostile values, and an unknown field stands nowhere."""
    document = DOCUMENTS[name]
    for path in list(paths_of(document))[:: share(1, 3)]:
        taken = [what for what, mutant in mutants_of(document, path) if is_read(mutant)]
        assert len(taken) < len(HOSTILE), path
        in_free_names = path[:1] == ("options",) or path[:2] == ("model", "dims")
        if isinstance(path[-1], str) and not in_free_names and path[0] != "statistics":
            assert "rename" not in taken, path


def test_a_key_that_stands_twice_is_refused() -> None:
    text = text_of(format_2()).replace(b'"solver": "hand"', b'"solver": "hand", "solver": "x"')
    with pytest.raises(UsageError, match="the key 'solver' stands twice"):
        load_plan(text)


@pytest.mark.parametrize("text", [b"1.0", b"1e0", b"true", b'"1"'])
def test_a_whole_number_is_written_as_one(text: bytes) -> None:
    """JSON Schema cannot tell 1.0 from 1; the reader can."""
    with pytest.raises(MalformedPlanError, match="field seed: Input should be a valid integer"):
        load_plan(text_of(format_2()).replace(b'"seed": 0', b'"seed": ' + text))


def test_links_of_format_1_have_no_names() -> None:
    document = format_1()
    document["target"]["links"][0]["name"] = "queue"
    assert not is_read(document)
    assert not VALIDATOR.is_valid(document)
