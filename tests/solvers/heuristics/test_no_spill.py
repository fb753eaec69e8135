"""`no-spill`: the smallest fast memory."""

import pytest

from tests.support.cases import chain, problem_for, solved, target_of
from tests.support.plain_moves import propose
from tests.support.states import states
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.target import Link, Tier
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import no_spill
from ullage.solvers.run import run_solver
from ullage.solvers.state.engine_tables import movable
from ullage.solvers.state.residency_state import ResidencyState


def test_no_spill_finds_the_smallest_memory() -> None:
    target = target_of(16)
    problem = problem_for(chain(), ["y"], target)
    plan = solved("no-spill", problem, "peak")
    assert plan is not None
    assert score(plan).peak_bytes["sram"] == 128
    assert lower_bound(problem.minimising("peak")).value == 128
    assert plan.target.fastest.capacity_bytes == 128
    assert plan.chip_fast_memory_bytes == 16
    text = (
        "the plan does not fit the chip's 16 B of sram: it needs 128 B (128 bytes, 112 more than "
        "there are)"
    )
    assert plan.shortfall == text
    assert plan.notes == (text,)


def test_a_plan_that_fits_the_chip_says_nothing() -> None:
    plan = solved("no-spill", problem_for(chain(), ["y"], target_of(128)), "peak")
    assert plan is not None
    assert plan.chip_fast_memory_bytes is None
    assert (plan.shortfall, plan.notes) == ("", ())


def test_a_portfolio_says_once_that_the_plan_does_not_fit() -> None:
    plan = solved("auto", problem_for(chain(), ["y"], target_of(16)), "peak")
    assert plan is not None
    assert plan.chip_fast_memory_bytes == 16
    assert plan.notes.count(plan.shortfall) == 1


def test_residencies_are_those_of_the_reference() -> None:
    stored = 0
    for _, state, _ in states(80):
        problem = state.problem.minimising("peak")
        try:
            found = no_spill.solve(problem, no_spill.NoSpillOptions(), Budget()).assignment
        except (InfeasibleError, UsageError):
            continue
        fastest, segments = problem.target.fastest.name, state.segments
        roomy = ResidencyState(problem.on(problem.target.with_fast_memory(2**62)), segments)
        for index in movable(roomy):
            if segments[index].kind != "weight":
                for first in list(roomy.residencies[index]):
                    roomy.remove(index, first)
        for index in movable(roomy):
            if segments[index].kind != "weight":
                last = len(segments[index].accesses) - 1
                residency = propose(roomy, index, 0, last, window=1)
                assert residency is not None
                roomy.add(index, 0, last, residency)
        expected = [residency for _, _, residency in roomy.all_residencies()]
        kept = sorted(
            (r.buffer, r.start_byte, r.start, r.ready, r.end)
            for r in found.residencies
            if r.tier == fastest
        )
        assert kept == sorted(
            (segments[r.segment].buffer, segments[r.segment].start_byte, r.start, r.ready, r.end)
            for r in expected
        )
        moves = [m for r in expected for m in (r.fill, r.spill) if m]
        assert sorted(t.moves for t in found.transfers) == sorted(moves)
        stored += any(r.spill for r in expected)
    assert stored > 20


def test_no_remedy_is_named_that_cannot_minimise_the_peak() -> None:
    """`fluid` goes over several links, but `peak` is not among what it minimises."""
    tiers = tuple(
        Tier(name, 4096, 16e9, 16e9, 16, addressable=False) for name in ("tcm", "l2", "dram")
    )
    pairs = (("dram", "l2"), ("l2", "tcm"), ("tcm", "l2"), ("l2", "dram"))
    links = tuple(Link(a, b, 1e9) for a, b in pairs)
    problem = problem_for(chain(), ["y"], target_of(4096, tiers=tiers, links=links))
    peak = problem.minimising("peak")
    for asked in (peak, peak.within(1.0)):
        with pytest.raises(UsageError, match="no link between them") as raised:
            run_solver("no-spill", asked)
        assert "fluid" not in raised.value.message
        assert raised.value.details["source"] == "dram"


@pytest.mark.parametrize("limit_s", [None, 1.0])
@pytest.mark.parametrize(("way", "tensor"), [(("dram", "tcm"), "y"), (("tcm", "dram"), "x")])
def test_a_link_that_is_missing_one_way_is_named(
    way: tuple[str, str], tensor: str, limit_s: float | None
) -> None:
    """Operators may use both memories; only the input or the output of the model must move."""
    tiers = tuple(Tier(name, 4096, 16e9, 16e9, 16) for name in ("tcm", "dram"))
    target = target_of(4096, tiers=tiers, links=(Link(*way, 1e9),))
    problem = problem_for(chain(), ["y"], target).minimising("peak")
    asked = problem if limit_s is None else problem.within(limit_s)
    with pytest.raises(UsageError, match="no link between them") as raised:
        run_solver("no-spill", asked)
    assert raised.value.details == {
        "source": way[1],
        "destination": way[0],
        "tensor": tensor,
    }
