"""Rules that a problem breaks by itself: which field is named, and how many faults there are."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.problem_mutants import small_problem
from ullage.compiler.common.errors import UsageError
from ullage.compiler.exchange.problem_file import dump_problem, load_problem, read_problem
from ullage.compiler.ir.reach import REDUCTION

Place = tuple[str | int, ...]
STEPS, BUFFERS = ("program", "steps"), ("program", "buffers")
OUTPUTS = (*BUFFERS, 3, "outputs")
ROWS = [{"axis": 0, "start": 0, "end": 1}]
TILED = Path(__file__).parents[3] / "problems" / "tiled" / "network-2-50.json"


def using(step: int, use: int, start_byte: int, end_byte: int) -> dict[Place, object]:
    """The changes by which a use is of these bytes."""
    place = (*STEPS, step, "uses", use)
    return {
        (*place, "start_byte"): start_byte,
        (*place, "end_byte"): end_byte,
        (*place, "accessed_bytes"): end_byte - start_byte,
    }


def changed(changes: dict[Place, object]) -> bytes:
    """The file of a sound problem in which fields hold something else."""
    document = json.loads(dump_problem(small_problem("edge-npu")))
    for place, value in changes.items():
        node: Any = document
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        (
            {(*STEPS, 1, "uses", 0, "value"): "ghost"},
            ["steps.1.uses.0: operator 'conv': buffer 'x' has no value 'ghost' (its values: 'x')"],
        ),
        (
            {(*STEPS, 4, "uses", 0, "value"): "ghost"},
            ["steps.4.uses.0: operator 'add': buffer 'a' has no value 'ghost' (its values: 'a'"],
        ),
        (
            {(*STEPS, 1, "uses", i, "value"): "ghost" for i in (0, 1)},
            [
                "steps.1.uses.0: operator 'conv': buffer 'x'",
                "steps.1.uses.1: operator 'conv': buff",
            ],
        ),
        ({(*STEPS, 1, "kind"): ""}, ["steps.1.kind: is empty; name the type of the operator"]),
        ({(*STEPS, 4, "uses"): []}, ["steps.4.uses: operator 'add' has work and uses nothing"]),
        ({(*BUFFERS, 0, "name"): ""}, ["buffers.0.name: this buffer has an empty name; give it"]),
        (
            {(*STEPS, t, "name"): "conv" for t in (2, 3)},
            [f"steps.{t}.name: step 'conv' stands at program.steps.1.name already" for t in (2, 3)],
        ),
        (
            {(*BUFFERS, 2, "values", 1, "name"): "a", (*STEPS, 2, "uses", 1, "value"): "a"}
            | {(*STEPS, t, "uses", i, "value"): "a" for t, i in ((3, 1), (4, 0))},
            ["buffers.2.values.1.name: value 'a' stands at program.buffers.2.values.0.name alr"],
        ),
        ({OUTPUTS: []}, ["buffers.3.outputs: buffer 'c' is of kind output and has no outputs;"]),
        ({OUTPUTS: [[64, 64]]}, ["buffers.3.outputs: output [64, 64) of 'c' has no bytes; leave"]),
        (
            {OUTPUTS: [[0, 1024], [1024, 1024]]},
            ["buffers.3.outputs: output [1024, 1024) of 'c' has no bytes; leave it out"],
        ),
        (
            {OUTPUTS: [[0, 100]]},
            ["buffers.3.outputs: output [0, 100) of 'c': byte 100 is no multiple of 256 and no"],
        ),
        (
            {OUTPUTS: [[100, 300]]},
            ["buffers.3.outputs: output [100, 300) of 'c': byte 100 is no multiple of 256 and no"],
        ),
        (
            {OUTPUTS: [[0, 512], [256, 1024]]},
            ["buffers.3.outputs: outputs [0, 512) and [256, 1024) overlap; say each byte once"],
        ),
        (
            {(*BUFFERS, 2, "kind"): "state", (*BUFFERS, 2, "outputs"): [[256, 512]]},
            [
                f"buffers.2.outputs: state 'a': bytes [{low}, {high}) are written and are no output"
                for low, high in ((0, 256), (512, 1024))
            ],
        ),
        (
            using(2, 0, 0, 0) | using(1, 2, 0, 512) | using(2, 1, 0, 512),
            [
                "steps.3: step 3 (next) reads b in a: bytes [512, 1024) have not been written",
                "steps.4: step 4 (add) reads b in a: bytes [512, 1024) have not been written",
                "steps.2.uses.0: operator 'relu': the use of 'a' has no bytes; leave it out",
            ],
        ),
        (  # an empty write does not cut what nothing writes
            using(3, 2, 700, 700) | using(4, 1, 0, 0) | using(4, 2, 0, 512),
            [
                "steps.3.uses.2: operator 'next': the use of 'c' has no bytes; leave it out",
                "steps.4.uses.1: operator 'add': the use of 'c' has no bytes; leave it out",
                "buffers.3.outputs: output 'c': no step writes bytes [512, 1024); list the operat",
            ],
        ),
        (  # nor an empty output what is none
            {(*BUFFERS, 2, "kind"): "state", (*BUFFERS, 2, "outputs"): [[0, 512], [600, 600]]},
            [
                "buffers.2.outputs: output [600, 600) of 'a' has no bytes; leave it out",
                "buffers.2.outputs: state 'a': bytes [512, 1024) are written and are no output",
            ],
        ),
        (
            using(3, 2, 0, 512) | using(4, 2, 0, 512),  # what is read is not made by that
            [
                "steps.4: step 4 (add) reads c in c: bytes [512, 1024) have not been written",
                "buffers.3.outputs: output 'c': no step writes bytes [512, 1024); list the",
            ],
        ),
        (
            {(*STEPS, 0, "gemms"): [{"m": 1, "k": 1, "n": 1, "count": 1}]},
            ["steps.0: step 0 is DMA-only but has work of its own"],
        ),
        (
            using(1, 0, 0, 900) | {(*BUFFERS, 0, "values", 0, "start_byte"): 1000},
            ["steps.1.uses.0: operator 'conv': bytes [0, 900) of 'x' are used as 'x', which lies"],
        ),
        (  # parts that are no parts of a reduction have no partial sums
            {(*STEPS, 1, "ranges"): ROWS, (*STEPS, 1, "uses", 0, "value"): "ghost"},
            ["steps.1.uses.0: operator 'conv': buffer 'x' has no value 'ghost' (its values: 'x')"],
        ),
        (
            {(*STEPS, t, "ranges"): ROWS for t in (3, 4)} | {(*BUFFERS, 3, "values"): []},
            [
                "steps.3.uses.2: operator 'next': buffer 'c' has no value 'c' (its values: none)",
                "steps.4.uses.1: operator 'add': buffer 'c' has no value 'c' (its values: none)",
                "steps.4.uses.2: operator 'add': buffer 'c' has no value 'y' (its values: none)",
                "buffers.3.values: buffer 'c' holds no value; name what lies there",
            ],
        ),
        (  # a buffer without bytes does not end the search
            {(*BUFFERS, 1, "size_bytes"): 0, (*BUFFERS, 1, "values"): []}
            | using(1, 1, 0, 0)
            | using(3, 0, 0, 0)
            | using(1, 2, 0, 512),
            [
                "steps.2: step 2 (relu) reads a in a: bytes [512, 1024) have not been written",
                "steps.1.uses.1: operator 'conv': the use of 'w' has no bytes; leave it out",
                "steps.3.uses.0: operator 'next': the use of 'w' has no bytes; leave it out",
            ],
        ),
        (
            {(*BUFFERS, 3, "values"): []},
            [
                "steps.3.uses.2: operator 'next': buffer 'c' has no value 'c' (its values: none)",
                "steps.4.uses.1: operator 'add': buffer 'c' has no value 'c' (its values: none)",
                "steps.4.uses.2: operator 'add': buffer 'c' has no value 'y' (its values: none)",
                "buffers.3.values: buffer 'c' holds no value; name what lies there",
            ],
        ),
        (
            using(1, 0, 0, 0),
            ["steps.1.uses.0: operator 'conv': the use of 'x' has no bytes; leave it out"],
        ),
        (
            using(1, 0, 0, 1000) | {(*BUFFERS, 0, "values", 0, "start_byte"): 1000},
            ["steps.1.uses.0: operator 'conv': bytes [0, 1000) of 'x' are used as 'x', which lies"],
        ),
        (
            using(1, 0, 24, 1024) | {(*BUFFERS, 0, "values", 0, "end_byte"): 24},
            ["steps.1.uses.0: operator 'conv': bytes [24, 1024) of 'x' are used as 'x', which l"],
        ),
        (
            using(3, 2, 0, 512) | using(4, 1, 0, 512) | using(4, 2, 0, 512),
            ["buffers.3.outputs: output 'c': no step writes bytes [512, 1024); list the operator"],
        ),
    ],
)
def test_each_fault_is_named_once(changes: dict[Place, object], faults: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        load_problem(changed(changes), "p.json")
    error = refused.value
    found = [f"{fault['field']}: {fault['message']}" for fault in error.details["problems"]]
    assert [text[: len(f"program.{told}")] for text, told in zip(found, faults, strict=True)] == [
        f"program.{told}" for told in faults
    ]
    assert error.message.startswith(f"p.json: the problem is malformed: field program.{faults[0]}")
    more = f" ({len(faults)} problems in all)"
    assert error.message.endswith(more) == (len(faults) > 1)


@pytest.mark.parametrize(
    "changes",
    [
        {OUTPUTS: [[0, 512], [512, 1024]]},
        {OUTPUTS: [[256, 1024]]},
        {OUTPUTS: [[0, 256], [512, 1024]]},
        {(*BUFFERS, 2, "kind"): "state", (*BUFFERS, 2, "outputs"): [[0, 512]]}
        | using(1, 2, 0, 512)
        | using(2, 0, 0, 512)
        | using(2, 1, 0, 512)
        | using(3, 1, 0, 512)
        | using(4, 0, 0, 512),
        {(*BUFFERS, 2, "kind"): "state", (*BUFFERS, 2, "outputs"): [[0, 512], [512, 1024]]},
        using(1, 0, 0, 1001) | {(*BUFFERS, 0, "values", 0, "start_byte"): 1000},
    ],
)
def test_what_touches_its_neighbour_or_its_value_is_no_fault(changes: dict[Place, object]) -> None:
    assert load_problem(changed(changes)).problem.buffers


def test_partial_sums_lie_in_buffers_without_values() -> None:
    program = read_problem(TILED).problem.program
    assert any(r.axis == REDUCTION for step in program.steps for r in step.ranges)
    assert any(not buffer.values and buffer.size_bytes for buffer in program.buffers)
