"""What keeps large programs near-linear gives what the plain way gives."""

from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.graphs import seeds
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import msa
from ullage.solvers.packing import pack as packing
from ullage.solvers.packing.pack import pack
from ullage.solvers.state import place as placement
from ullage.solvers.state.address_map import AddressMap, best_fit
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Access, Segment, segments_of
from ullage.solvers.state.span_lookup import FEW, SpanLookup, uncounted


def chip(capacity_bytes: int) -> Target:
    """Fast memory of some hundred bytes before a slow one."""
    sram = Tier("sram", capacity_bytes, 16e9, 8e9, 8, 1e-12, 2e-12)
    dram = Tier("dram", 1 << 20, 1e9, 1e9, 8, 2e-10, 2e-10)
    links = (Link("dram", "sram", 1e9, 0.0, 0.0), Link("sram", "dram", 1e9, 0.0, 0.0))
    homes = {"input": "dram", "weight": "dram", "activation": "dram", "output": "dram"}
    compute = Compute({"int8": 1e9}, 1e9, 0.0, {})
    return Target("chip", (sram, dram), links, compute, homes)


def recurrent(target: Target, steps: int, seed: int = 0) -> Problem:
    """Operators that share two weights and keep some results for later."""
    rng = Random(seed)
    tensors = [Tensor("x", 64, "input"), Tensor("w", 128, "weight"), Tensor("v", 96, "weight")]
    operators: list[Op] = []
    alive = ["x"]
    for i in range(steps):
        kind = "output" if i == steps - 1 else "activation"
        tensors.append(Tensor(f"a{i}", rng.choice((32, 64, 96)), kind))
        reads = [alive[-1], rng.choice(alive), "w" if rng.random() < 0.7 else "v"]
        macs = rng.choice((0, 100, 400))
        operators.append(Op(f"op{i}", tuple(dict.fromkeys(reads)), (f"a{i}",), macs=macs))
        alive = [*alive, f"a{i}"][-6:]
    return problem_from_lists("recurrent", tensors, operators, target)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_runs_are_found_as_by_looking_at_each(seed: int) -> None:
    rng = Random(seed)
    count = rng.randint(1, 12 * FEW)
    accesses = tuple(Access(t, True, rng.random() < 0.1, 1.0, 0.0) for t in range(count))
    given_kind = rng.choice(("weight", "activation"))
    segment = Segment(0, 0, 8, given_kind, "dram", accesses, is_output=False, must_be_fastest=False)
    residencies: list[dict[int, tuple[int, SegmentResidency]]] = [{}]
    lookup = SpanLookup(residencies, [segment])
    for _ in range(40):
        first = rng.randrange(count)
        last = min(count - 1, first + rng.randrange(4))
        inside = {r for e in range(first, last + 1) if (r := plain_run(residencies[0], e))}
        assert lookup.between(0, first, last) == sorted(inside)
        assert lookup.of(0, first) == plain_run(residencies[0], first)
        writes = [e for e in range(first, last + 1) if accesses[e].writes]
        assert lookup.last_write(0, first, last) == (writes[-1] if writes else None)
        behind = [
            residency.start for f, (_, residency) in sorted(residencies[0].items()) if f > last
        ]
        found = lookup.behind(0, last)
        assert (found.start if found else None) == (behind[0] if behind else None)
        if inside:
            for begin, _ in inside:
                del residencies[0][begin]
                lookup.removed(0, begin)
        else:
            spill = ((last, 8),) if rng.random() < 0.5 else ()
            residencies[0][first] = (last, SegmentResidency(0, first, first, last + 1, (), spill))
            lookup.added(0, first)


def plain_run(runs: dict[int, tuple[int, SegmentResidency]], access: int) -> tuple[int, int] | None:
    return next(((f, last) for f, (last, _) in runs.items() if f <= access <= last), None)


def test_uncounted_accesses_are_those_outside_the_runs() -> None:
    assert uncounted(2, 9, ()) == [(2, 10)]
    assert uncounted(2, 9, [(2, 4), (6, 6)]) == [(5, 6), (7, 10)]
    assert uncounted(2, 9, [(2, 9)]) == []
    assert uncounted(3, 2, ()) == []  # a residency without accesses


@pytest.mark.parametrize("capacity_bytes", [256, 512, 1024])
def test_joined_runs_are_charged_as_if_added_at_once(capacity_bytes: int) -> None:
    target = chip(capacity_bytes)
    problem = recurrent(target, 150)
    residency_state = ResidencyState(problem, segments_of(problem))
    close_gaps(residency_state, 64, Budget())
    hide_single_uses(residency_state, 64, Budget())
    fresh = ResidencyState(problem, segments_of(problem))
    for first, last, residency in residency_state.all_residencies():
        fresh.add(residency.segment, first, last, residency)
    assert any(last > first + FEW for first, last, _ in residency_state.all_residencies())
    np.testing.assert_array_equal(fresh.load_bytes, residency_state.load_bytes)
    np.testing.assert_allclose(fresh.busy_time.busy_s, residency_state.busy_time.busy_s, atol=1e-18)
    assert fresh.busy_time.total_s == pytest.approx(residency_state.busy_time.total_s, rel=1e-12)
    assert fresh.busy_time.slow_bytes == pytest.approx(residency_state.busy_time.slow_bytes)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
@example(seed=5112)  # a rectangle of no duration at the border of two buckets
def test_an_address_map_of_long_times_finds_what_a_look_at_all_finds(seed: int) -> None:
    rng = Random(seed)
    addresses = AddressMap(400, 4)
    placed: dict[int, tuple[int, int, int, int]] = {}
    for _ in range(150):
        start = rng.randint(-300, 600)
        end = start + rng.choice((0, 1, 5, 60, 64, 300))
        size = rng.randint(0, 60)
        columns = np.array(list(placed.values()), dtype=np.int64).reshape(-1, 4).T
        wanted = best_fit(*columns, start, end, size, 4, 400)
        assert addresses.find(start, end, size) == wanted
        if wanted is None:
            identifier = rng.choice(list(placed))
            addresses.release(identifier)
            del placed[identifier]
            continue
        assert end == start or addresses.is_free(start, end, wanted, size)
        placed[addresses.occupy(start, end, wanted, size)] = (start, end, wanted, size)
        assert size == 0 or end == start or not addresses.is_free(start, end, wanted, size)


def test_many_buffers_are_packed_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    starts = np.sort(rng.integers(0, 4000, 900))
    ends = starts + rng.integers(1, 9, 900)
    sizes = rng.integers(1, 50, 900)
    thorough = pack(starts, ends, sizes)
    monkeypatch.setattr(packing, "MAX_SEARCH_BUFFERS", 300)
    quick = pack(starts, ends, sizes)
    assert quick.peak_bytes <= thorough.peak_bytes * 1.1
    assert quick.lower_bound_bytes <= quick.peak_bytes
    for i in range(900):
        others = np.arange(i)
        together = (starts[others] < ends[i]) & (starts[i] < ends[others])
        apart = (quick.offsets[others] >= quick.offsets[i] + sizes[i]) | (
            quick.offsets[others] + sizes[others] <= quick.offsets[i]
        )
        assert (apart | ~together).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), capacity_bytes=st.sampled_from((168, 232, 328, 488)))
def test_residencies_beyond_many_are_placed_legally(seed: int, capacity_bytes: int) -> None:
    target = chip(capacity_bytes)
    problem = recurrent(target, 60, seed)
    try:
        slow = score(solve_with("all-slow", problem))
    except InfeasibleError:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placement, "MAX_TOGETHER", 5)
        plan = solve_with("greedy", problem)
    assert find_violations(plan) == []
    assert score(plan).latency_s <= slow.latency_s * (1 + 1e-9)
    assert any("near-linear" in note for note in plan.notes)


def test_prefetch_starts_do_not_depend_on_how_far_msa_looks_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = chip(512)
    problem = recurrent(target, 120, 5)
    wide = solve_with("msa", problem)
    monkeypatch.setattr(msa, "FIRST_LOOK_STEPS", 1)
    assert solve_with("msa", problem) == wide


def test_msa_tries_fewer_lengths_of_residencies_with_many_uses_and_says_so() -> None:
    target = chip(1024)
    problem = recurrent(target, 120, 7)
    plan = solve_with("msa", problem, Asked(parameters={"max_run_ends": 2}))
    assert find_violations(plan) == []
    assert any("max_run_ends" in note for note in plan.notes)
    few = recurrent(target, 40, 7)
    assert solve_with("msa", few).notes == ()


@pytest.mark.parametrize("solver", ["greedy", "msa"])
def test_heuristics_out_of_time_say_so(solver: str) -> None:
    target = chip(512)
    problem = recurrent(target, 30)
    plan = solve_with(solver, problem, Asked(deadline=0.0))
    assert find_violations(plan) == []
    assert any("time limit" in note for note in plan.notes)
