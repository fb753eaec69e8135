"""Emitters of plans in parts: C tables that play, a trace of cascades and stripes, boats in SVG."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.compiler.emit.test_c_source import needs_gcc, passes, write
from tests.compiler.emit.test_emitters import TRACE_SCHEMA, lanes
from tests.support.reports import in_parts
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.result import Compiled
from ullage.compiler.emit import svg
from ullage.compiler.emit.c_source import HEADER
from ullage.compiler.emit.svg import memory_svg
from ullage.compiler.emit.tflm import emit_tflm
from ullage.compiler.emit.trace import trace_document
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.report.subject import compiled_of

# Prints the ranges of each step and the layout of each value, from the tables alone.
PRINTER = """
#include <stdio.h>
#include "ullage_plan.h"
int main(void) {
  for (uint32_t t = 0; t < ULLAGE_STEPS; t++) {
    const ullage_step *s = &ullage_steps[t];
    printf("step %d", s->operator_index);
    for (uint32_t i = s->first_range; i < s->first_range + s->ranges; i++)
      printf(" %s %d %llu %llu", ullage_ranges[i].name, ullage_ranges[i].axis,
             (unsigned long long)ullage_ranges[i].start, (unsigned long long)ullage_ranges[i].end);
    printf("\\n");
  }
  for (uint32_t v = 0; v < ULLAGE_VALUES; v++) {
    const ullage_value *value = &ullage_values[v];
    printf("value %s %d %u\\n", value->name, value->outer_axis, value->cuts);
  }
}
"""


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compiled_of(in_parts())


@needs_gcc
def test_parts_play_and_say_what_they_make(compiled: Compiled, tmp_path: Path) -> None:
    plan = compiled.plan
    found = passes(write(plan, tmp_path))
    assert (found["operators"], found["wrong"]) == (plan.program.parts, 0)
    (tmp_path / "print.c").write_text(PRINTER)
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "print.c", "ullage_plan.c"]
    subprocess.run([*command, "-o", "print"], cwd=tmp_path, check=True)
    printed = subprocess.run(tmp_path / "print", capture_output=True, text=True, check=True)
    lines = printed.stdout.splitlines()
    wanted = [
        " ".join(["step", str(s.operator), *(f"rows {r.axis} {r.start} {r.end}" for r in s.ranges)])
        for s in plan.problem.steps
    ]
    assert lines[: len(wanted)] == wanted
    assert "step 1 rows 2 9 17" in wanted
    values = [value for buffer in plan.problem.buffers for value in buffer.values]
    assert lines[len(wanted) :] == [
        f"value {v.name} {v.layout.axis if v.layout else -1} 0" for v in values
    ]
    assert {v.layout.axis for v in values if v.layout} == {2}


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_header_can_be_included_from_cpp(compiled: Compiled, tmp_path: Path) -> None:
    write(compiled.plan, tmp_path)
    (tmp_path / "main.cpp").write_text(f'#include "{HEADER}"\nint main() {{ return 0; }}\n')
    command = ["g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "main.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_tflm_runs_no_parts(compiled: Compiled, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs operators whole, and this plan runs 'conv0'"):
        emit_tflm(compiled, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_names_parts_and_nests_stripes_in_cascades(compiled: Compiled) -> None:
    document: dict[str, Any] = json.loads(json.dumps(trace_document(compiled)))
    jsonschema.validate(document, TRACE_SCHEMA)
    model = lanes(document, 1)
    cascade = next(event for event in model["cascades"] if event[2] == "conv0 to conv2")
    stripes = sorted(event for event in model["cascades"] if event[2].startswith("stripe"))
    assert [name for _, _, name in stripes] == [f"stripe {n}" for n in range(1, 5)]
    assert stripes[0][0] == pytest.approx(cascade[0])
    assert stripes[-1][1] == pytest.approx(cascade[1])
    assert all(one[1] == pytest.approx(other[0]) for one, other in pairwise(stripes))
    part = next(e for e in document["traceEvents"] if e["name"] == "conv1 [rows 9:17)")
    assert part["args"]["operator"] == "conv1"
    assert part["args"]["ranges"] == {"rows": [9, 17]}
    whole = next(e for e in document["traceEvents"] if e["name"] == "conv3")
    assert "ranges" not in whole["args"]


def test_boats_stand_over_their_steps(compiled: Compiled) -> None:
    plan = compiled.plan
    drawn = ET.fromstring(memory_svg(plan))  # noqa: S314 - our own file
    space = "{http://www.w3.org/2000/svg}"
    (boat,) = drawn.iter(f"{space}polygon")
    xs = sorted(float(point.split(",")[0]) for point in boat.get("points", "").split())
    parts = [b for b in drawn.iter(f"{space}rect") if b.get("class", "").startswith("part")]
    cut = [step for step in plan.problem.steps if step.ranges]
    assert [part[0].text for part in parts] == [step.name for step in cut]
    assert xs[0] == pytest.approx(float(parts[0].get("x", "")), abs=0.1)
    end = float(parts[-1].get("x", "")) + float(parts[-1].get("width", ""))
    assert xs[-1] == pytest.approx(end, abs=0.1)
    titles = {
        b[0].text for b in drawn.iter(f"{space}rect") if b.get("data-kind") == "cascade" if len(b)
    }
    assert titles
    assert all("line buffer" in str(title) for title in titles)


def test_parts_too_narrow_to_be_seen_are_not_drawn(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripes_wide = svg.WIDTH * 12 / len(compiled.plan.problem.steps) / 4
    for least, parts in ((stripes_wide - 1, 12), (stripes_wide + 1, 0)):
        monkeypatch.setattr(svg, "LEAST_STRIPE", least)
        drawn = memory_svg(compiled.plan)
        assert drawn.count('class="boat"') == 1
        assert drawn.count('class="part') == parts


def test_a_picture_of_some_steps_shows_no_others(compiled: Compiled) -> None:
    drawn = memory_svg(compiled.plan, (1, 7))
    assert f"steps 1 to 7 of {len(compiled.plan.problem.steps)}" in drawn
    assert drawn.count('class="part') == 6
    for x, width in re.findall(r'class="slice" x="([\d.]+)" y="[-\d.]+" width="([\d.]+)"', drawn):
        assert 90 <= float(x) <= float(x) + float(width) <= 90 + 960 + 0.01
    kinds = [step.kind for step in compiled.plan.problem.steps]
    assert kinds[0] == kinds[-1] == DMA_STEP
