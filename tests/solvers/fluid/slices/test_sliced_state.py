"""Slices cut while they have residencies: what is left is as consistent as before."""

from dataclasses import replace

from tests.support.scratchpads import four_operators
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.state.segments import segments_of


def test_what_is_left_of_a_slice_is_ready_after_its_own_last_bytes() -> None:
    problem = four_operators()
    segments = segments_of(problem)
    state = SlicedResidencyState(problem, segments, 0, [1000] * len(segments))
    index = [i for i, segment in enumerate(segments) if segment.kind == "weight"][1]
    ((first, (last, single)),) = state.residencies[index].items()
    state.remove(index, first)
    early, late = single.start - 2, single.start
    fill = ((early, 60_000), (late, 40_000))
    state.add(index, first, last, replace(single, start=early, ready=late + 1, fill=fill))
    rest = state.cut_off(index, 50_000)
    assert rest is not None
    ((_, kept),) = state.residencies[index].values()
    assert kept.fill == ((early, 50_000),)
    assert (kept.start, kept.ready, kept.end) == (early, early + 1, single.end)
    ((_, other),) = state.residencies[rest].values()
    assert (other.start, other.ready, sum(size for _, size in other.fill)) == (
        late,
        late + 1,
        50000,
    )
