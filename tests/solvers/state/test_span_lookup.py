"""Runs are found as by looking at each."""

from random import Random

from hypothesis import given, settings

from tests.support.graphs import seeds
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import Access, Segment
from ullage.solvers.state.span_lookup import FEW, SpanLookup


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_runs_are_found_as_by_looking_at_each(seed: int) -> None:
    rng = Random(seed)
    count = rng.randint(1, 12 * FEW)
    accesses = tuple(Access(t, True, rng.random() < 0.1, 1.0, 0.0) for t in range(count))
    given_kind = rng.choice(("weight", "activation"))
    segment = Segment(
        0, 0, 8, given_kind, "dram", "dram", accesses, is_output=False, must_be_fastest=False
    )
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
