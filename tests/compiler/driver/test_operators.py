"""What each operator costs: the score's own figures, every byte in one tier, every second once."""

from collections.abc import Callable

import pytest

from tests.support import plans
from tests.support.reports import in_parts
from ullage.compiler.driver.operators import (
    operator_steps,
    operators_detail,
    slowest_operators,
    step_figures,
)
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import bottleneck, score

MADE: list[Callable[[], Plan]] = [
    plans.chain,
    plans.residual,
    plans.concat,
    plans.prefetch,
    plans.spill,
    plans.flash,
    plans.fastest,
]


@pytest.mark.parametrize("made", MADE)
def test_rows_are_the_operators_in_order(made: Callable[[], Plan]) -> None:
    plan = made()
    cost = score(plan)
    rows = operators_detail(plan, cost)
    steps = plan.problem.steps
    assert [row["step"] for row in rows] == operator_steps(plan)
    assert len(rows) == plan.program.operators
    assert [row["name"] for row in rows] == [s.name for s in steps if s.kind != "dma"]
    binding = bottleneck(cost)
    for row in rows:
        t = row["step"]
        assert row["start_s"] == pytest.approx(float(cost.elapsed_s[:t].sum()))
        assert row["elapsed_s"] == cost.elapsed_s[t]
        assert row["bound_by"] == binding[t]
        assert row["utilisation"] == pytest.approx(row["compute_s"] / row["elapsed_s"])
        work_s = row["compute_s"] + row["overhead_s"]
        assert row["stall_s"] == pytest.approx(row["elapsed_s"] - work_s, abs=1e-18)
        assert row["macs"] == steps[t].macs
        accessed = sum(use.accessed_bytes for use in steps[t].uses)
        assert sum(row["bytes"].values()) == accessed
    others_s = sum(float(cost.elapsed_s[t]) for t, s in enumerate(steps) if s.kind == "dma")
    assert sum(row["elapsed_s"] for row in rows) + others_s == pytest.approx(cost.latency_s)


def test_an_operator_that_waits_for_dram() -> None:
    """Step 2 of `prefetch` reads half of w in dram: 16 bytes at 4e9 bytes/s, of 4 ns computing."""
    plan = plans.prefetch()
    row = operators_detail(plan, score(plan))[1]
    assert row["bytes"] == {"sram": 16 + 8, "dram": 16 + 8}
    assert row["bound_by"] == "dram"
    assert row["elapsed_s"] == pytest.approx(6e-9)
    assert row["compute_s"] == pytest.approx(4e-9)
    assert row["stall_s"] == pytest.approx(2e-9)
    assert row["utilisation"] == pytest.approx(2 / 3)
    first = operators_detail(plan, score(plan))[0]
    assert first["dma_bytes"] == {"dram->sram": 10}


@pytest.mark.parametrize("made", MADE)
def test_bytes_are_those_of_the_traffic(made: Callable[[], Plan]) -> None:
    plan = made()
    cost = score(plan)
    figures = step_figures(plan, cost)
    streamed = sum(n for route, n in cost.traffic_bytes.items() if "compute" in route)
    moved = sum(n for route, n in cost.traffic_bytes.items() if "compute" not in route)
    assert figures.operand_bytes[1:].sum() == pytest.approx(streamed)
    assert figures.moved_bytes.sum() == pytest.approx(moved)


def test_the_slowest_come_first_and_ties_in_step_order() -> None:
    plan = plans.spill()
    cost = score(plan)
    slowest = slowest_operators(plan, cost, 3)
    times = [one.elapsed_s for one in slowest]
    assert times == sorted(times, reverse=True)
    assert times[0] == max(float(cost.elapsed_s[t]) for t in operator_steps(plan))
    assert [one.steps[0] for one in slowest_operators(plan, cost, 99)] == sorted(
        operator_steps(plan), key=lambda t: (-cost.elapsed_s[t], t)
    )


def test_the_parts_of_an_operator_are_one_row() -> None:
    plan = in_parts(stripes=4)
    cost = score(plan)
    rows = {one.name: one for one in slowest_operators(plan, cost, 99)}
    assert sorted(rows) == ["conv0", "conv1", "conv2", "conv3"]
    parts = [t for t, step in enumerate(plan.problem.steps) if step.name.startswith("conv1 [")]
    assert rows["conv1"].steps == tuple(parts)
    assert rows["conv1"].elapsed_s == pytest.approx(sum(float(cost.elapsed_s[t]) for t in parts))
    figures = step_figures(plan, cost)
    assert rows["conv1"].stall_s == pytest.approx(sum(float(figures.stall_s[t]) for t in parts))
    assert rows["conv1"].bound_by in {figures.bound_by[t] for t in parts}
    detail = next(row for row in operators_detail(plan, cost) if row["step"] == parts[1])
    assert (detail["operator"], detail["ranges"]) == ("conv1", {"rows": [9, 17]})
