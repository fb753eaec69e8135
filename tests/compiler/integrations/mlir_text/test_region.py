"""Bodies of operations: loads are reads, and all else that touches memory is refused."""

import pytest

from tests.support.mlir import T, problem_of
from ullage.compiler.common.errors import ModelError

BODY = """    %c = arith.constant 0 : index
    %y = memref.alloc() : memref<8xf32>
    linalg.generic {{
      indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]
    }} outs(%y : memref<8xf32>) {{
    ^bb0(%out: f32):
      %i = linalg.index 0 : index
      {line}
      linalg.yield %out : f32
    }}
    return %y : memref<8xf32>"""
TABLE = f"%x: {T}, %t: memref<500x16xf32> {{ullage.weight}}"


def test_a_load_in_a_body_reads_its_memref() -> None:
    load = "%v = memref.load %t[%i, %c] : memref<500x16xf32>"
    problem = problem_of(BODY.format(line=load), TABLE)
    (step,) = (step for step in problem.program.steps if step.kind == "generic")
    names = [problem.program.buffers[use.buffer].name for use in step.uses]
    assert "%t" in names
    assert step.vector_elements == 8  # the table is read, not worked on


def test_places_in_source_files_are_no_names() -> None:
    body = BODY.format(line='%v = arith.addf %out, %out : f32 loc("a%b.c":3:7)')
    body = body.replace("%out: f32", '%out: f32 loc(callsite("f" at "g.py":1:2))')
    assert problem_of(body, TABLE).program.steps


def test_arguments_of_regions_behind_outs_are_known() -> None:
    reduced = f"""    %y = memref.alloc() : memref<8xf32>
    linalg.reduce ins(%x : {T}) outs(%y : memref<8xf32>) dimensions = [1]
      (%in: f32, %init: f32) {{
        %s = arith.addf %in, %init : f32
        linalg.yield %s : f32
      }}
    return %y : memref<8xf32>"""
    assert [s.kind for s in problem_of(reduced).program.steps if s.uses] == ["reduce"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("memref.store %out, %t[%i, %c] : memref<500x16xf32>", "memref.store inside"),
        ("%a = memref.alloc() : memref<4xf32>", "memref.alloc inside"),
        ("%a = func.call @callee(%out) : (f32) -> f32", "func.call inside"),
        ("%a = affine.load %t[%i, %c] : memref<500x16xf32>", "names the memref %t: name it in ins"),
        ("%v = memref.load %t[%i] : memref<500x16xf32>", "needs 2 indices, and names 1"),
        ("%v = memref.load %t[%i, %c] : memref<500x17xf32>", "%t is a memref<500x16xf32>"),
        ("%v = memref.load %q[%i, %c] : memref<500x16xf32>", "%q is no memref"),
        ("%v = memref.load %y[%i] : memref<8xf32>", "reads %y, which nothing"),
        ("%v = memref.load %t[%i, %q] : memref<500x16xf32>", "%q is no memref that"),
        ("%v = arith.addf %out, %q : f32", "%q is no memref that"),
    ],
)
def test_other_uses_of_memory_in_a_body_are_refused_with_their_line(line: str, told: str) -> None:
    number = 6 if "%y[" in line else 11
    with pytest.raises(ModelError, match=f"line {number}: .*{told}"):
        problem_of(BODY.format(line=line), TABLE)
