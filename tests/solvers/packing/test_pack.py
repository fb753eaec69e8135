"""Offset assignment: never an overlap, never below the bound, exact where exactness is claimed."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rectangles import random_instance
from ullage.compiler.common.errors import UsageError
from ullage.solvers.packing import pack as packing
from ullage.solvers.packing import pack as packing_module
from ullage.solvers.packing.branch_and_bound import exact_layout
from ullage.solvers.packing.heuristics import Layout
from ullage.solvers.packing.instance import Instance, aligned_load_bound, load_bound
from ullage.solvers.packing.minimalloc_csv import read_minimalloc_csv
from ullage.solvers.packing.pack import Packing, pack
from ullage.solvers.packing.validate import overlapping_pair

INSTANCES = Path(__file__).parents[3].parent / "shared" / "minimalloc"


Rows = list[tuple[int, int, int]]  # start, duration, size


def rows(most: int, largest: int = 40, smallest: int = 0) -> st.SearchStrategy[Rows]:
    row = st.tuples(st.integers(-5, 12), st.integers(smallest, 9), st.integers(smallest, largest))
    return st.lists(row, max_size=most, min_size=smallest)


def arrays(buffers: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(buffers, dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 0] + table[:, 1], table[:, 2]


def slow_overlap(
    starts: np.ndarray, ends: np.ndarray, offsets: np.ndarray, sizes: np.ndarray
) -> bool:
    for i, j in itertools.combinations(range(len(starts)), 2):
        in_time = max(starts[i], starts[j]) < min(ends[i], ends[j])
        in_space = max(offsets[i], offsets[j]) < min(offsets[i] + sizes[i], offsets[j] + sizes[j])
        if in_time and in_space:
            return True
    return False


def slow_first_fit(
    starts: np.ndarray, ends: np.ndarray, sizes: np.ndarray, order: list[int]
) -> list[int]:
    offsets: dict[int, int] = {}
    for i in order:
        taken = sorted(
            (offset, offset + int(sizes[j]))
            for j, offset in offsets.items()
            if starts[j] < ends[i] and ends[j] > starts[i]
        )
        address = 0
        for low, high in taken:
            if low - address >= sizes[i]:
                break
            address = max(address, high)
        offsets[i] = address
    return [offsets[i] for i in range(len(starts))]


def least_peak(starts: np.ndarray, ends: np.ndarray, sizes: np.ndarray, alignment: int) -> int:
    """Every optimum can be pushed down until it is first-fit in the order of its offsets."""
    rounded = -(-sizes // alignment) * alignment
    best = None
    for order in itertools.permutations(range(len(starts))):
        offsets = np.array(slow_first_fit(starts, ends, rounded, list(order)))
        peak = int((offsets + sizes).max())
        best = peak if best is None else min(best, peak)
    assert best is not None
    return best


def check_legal(buffers: Rows, alignment: int, packing: Packing) -> None:
    starts, ends, sizes = arrays(buffers)
    real = (sizes > 0) & (ends > starts)
    assert not slow_overlap(starts[real], ends[real], packing.offsets[real], sizes[real])
    assert not (packing.offsets % alignment).any()
    assert not packing.offsets[~real].any()
    assert not (packing.offsets < 0).any()
    assert packing.peak_bytes == int((packing.offsets + sizes)[real].max(initial=0))
    assert packing.lower_bound_bytes <= packing.peak_bytes
    assert packing.optimal == (packing.lower_bound_bytes == packing.peak_bytes)


@settings(max_examples=60, deadline=None)
@given(rows(14), st.sampled_from([1, 4, 16]), st.none() | st.integers(0, 200), st.integers(0, 50))
def test_quick_packing_is_legal_and_repeatable(
    buffers: Rows, alignment: int, capacity: int | None, seed: int
) -> None:
    first, second = (
        pack(*arrays(buffers), alignment_bytes=alignment, capacity_bytes=capacity, seed=seed)
        for _ in range(2)
    )
    check_legal(buffers, alignment, first)
    assert first.offsets.tolist() == second.offsets.tolist()


@settings(max_examples=20, deadline=None)
@given(rows(5, smallest=1), st.sampled_from([1, 8]))
def test_proven_peak_is_the_brute_force_optimum(buffers: Rows, alignment: int) -> None:
    packing = pack(*arrays(buffers), alignment_bytes=alignment, proof=True, time_limit_s=5)
    check_legal(buffers, alignment, packing)
    least = least_peak(*arrays(buffers), alignment)
    assert packing.lower_bound_bytes <= least
    if alignment == 1:
        assert packing.optimal
    if packing.optimal:
        assert packing.peak_bytes == least


def fits(starts: list[int], ends: list[int], sizes: list[int], capacity: int) -> bool:
    """Try every offset of every buffer."""
    placed: list[int] = []

    def rest() -> bool:
        i = len(placed)
        if i == len(starts):
            return True
        for offset in range(capacity - sizes[i] + 1):
            if all(
                ends[i] <= starts[j]
                or starts[i] >= ends[j]
                or offset + sizes[i] <= placed[j]
                or offset >= placed[j] + sizes[j]
                for j in range(i)
            ):
                placed.append(offset)
                if rest():
                    return True
                placed.pop()
        return False

    return rest()


def test_proof_goes_beyond_the_load_bound() -> None:
    starts = [0, 0, 3, 3, 4, 4, 5, 6]
    ends = [3, 4, 5, 6, 5, 6, 7, 7]
    sizes = [2, 2, 1, 1, 1, 1, 2, 2]
    assert load_bound(np.array(starts), np.array(ends), np.array(sizes)) == 4
    assert not fits(starts, ends, sizes, 4)
    assert fits(starts, ends, sizes, 5)
    packing = pack(starts, ends, sizes, proof=True)
    assert (packing.peak_bytes, packing.lower_bound_bytes, packing.optimal) == (5, 5, True)
    assert not pack(starts, ends, sizes).optimal


def test_no_buffers_need_no_memory() -> None:
    packing = pack([], [], [])
    assert (packing.offsets.tolist(), packing.peak_bytes, packing.optimal) == ([], 0, True)


def test_sizes_are_rounded_up_to_the_alignment() -> None:
    packing = pack([0, 0], [1, 1], [100, 100], alignment_bytes=64)
    assert sorted(packing.offsets.tolist()) == [0, 128]
    assert (packing.peak_bytes, packing.lower_bound_bytes) == (228, 228)


def test_stretches_of_time_are_packed_apart() -> None:
    starts, ends, sizes = random_instance(120, seed=3)
    twice = (np.append(starts, starts + 10_000), np.append(ends, ends + 10_000))
    packing = pack(*twice, np.append(sizes, sizes))
    alone = pack(starts, ends, sizes)
    assert packing.peak_bytes == alone.peak_bytes
    assert not slow_overlap(*twice, packing.offsets, np.append(sizes, sizes))


def test_huge_times_and_sizes_stay_exact() -> None:
    far = 2**61
    packing = pack([0, 0, far], [far, far + 1, far + 5], [2**58 + 1, 2**59, 2**58])
    assert packing.peak_bytes == 2**59 + 2**58 + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [1, 2], [1]), "as many"),
        (([5], [4], [1]), "ends before it starts"),
        (([0], [1], [-1]), "has size -1"),
        (([0], [1], [0.5]), "integers"),
        (([0, 0], [1, 1], [2**62, 2**62]), "2\\*\\*62"),
    ],
)
def test_senseless_buffers_are_refused(
    arguments: tuple[list[int], list[int], list[int]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        pack(*arguments)


def test_senseless_options_are_refused() -> None:
    with pytest.raises(UsageError, match="alignment"):
        pack([0], [1], [1], alignment_bytes=0)
    with pytest.raises(UsageError, match="capacity"):
        pack([0], [1], [1], capacity_bytes=-1)
    with pytest.raises(UsageError, match="time limit"):
        pack([0], [1], [1], time_limit_s=float("nan"))


@given(rows(12), st.sampled_from([1, 8]))
def test_load_bound_equals_a_count_at_every_tick(buffers: Rows, alignment: int) -> None:
    starts, ends, sizes = arrays([row for row in buffers if row[1] > 0 and row[2] > 0])
    rounded = -(-sizes // alignment) * alignment
    loads, bare = [0], [0]
    for tick in range(-5, 22):
        alive = (starts <= tick) & (ends > tick)
        loads.append(int(rounded[alive].sum()))
        bare.append(loads[-1] - int((rounded - sizes)[alive].max(initial=0)))
    assert load_bound(starts, ends, rounded) == max(loads)
    bound = aligned_load_bound(starts, ends, sizes, alignment)
    assert bound <= max(bare)
    if alignment == 1:
        assert bound == max(bare)


@given(rows(8, smallest=1), st.data())
def test_overlap_check_agrees_with_all_pairs(buffers: Rows, data: st.DataObject) -> None:
    starts, ends, sizes = arrays(buffers)
    count = len(buffers)
    offsets = np.array(data.draw(st.lists(st.integers(0, 200), min_size=count, max_size=count)))
    pair = overlapping_pair(starts, ends, offsets, sizes)
    assert (pair is not None) == slow_overlap(starts, ends, offsets, sizes)
    if pair is not None:
        two = list(pair)
        assert slow_overlap(starts[two], ends[two], offsets[two], sizes[two])


@settings(max_examples=60, deadline=None)
@given(rows(20, smallest=1), st.randoms(use_true_random=False))
def test_compiled_ordered_first_fit_equals_its_plain_twin(buffers: Rows, random: object) -> None:
    from ullage.solvers.packing.first_fit import ordered_first_fit

    starts, ends, sizes = arrays(buffers)
    order = list(range(len(buffers)))
    random.shuffle(order)  # type: ignore[attr-defined]
    offsets = ordered_first_fit(starts, ends, sizes, np.array(order))
    assert offsets.tolist() == slow_first_fit(starts, ends, sizes, order)


@settings(max_examples=60, deadline=None)
@given(rows(20, smallest=1))
def test_compiled_sweep_equals_first_fit_in_order_of_start(buffers: Rows) -> None:
    from ullage.solvers.packing.first_fit import sweep_fit

    starts, ends, sizes = arrays(buffers)
    order = np.lexsort((starts - ends, -sizes, starts)).tolist()
    offsets = sweep_fit(starts, ends, sizes, best_fit=False)
    assert offsets.tolist() == slow_first_fit(starts, ends, sizes, order)
    tight = sweep_fit(starts, ends, sizes, best_fit=True)
    assert not slow_overlap(starts, ends, tight, sizes)


def test_many_buffers_are_packed_near_the_bound() -> None:
    starts, ends, sizes = random_instance(6_000, seed=1)
    packing = pack(starts, ends, sizes, alignment_bytes=16)
    assert len(starts) > packing_module.MAX_SEARCH_BUFFERS
    assert overlapping_pair(starts, ends, packing.offsets, sizes) is None
    assert not (packing.offsets % 16).any()
    assert packing.peak_bytes <= 1.3 * packing.lower_bound_bytes


@pytest.mark.skipif(not INSTANCES.is_dir(), reason="needs the MiniMalloc instances")
@pytest.mark.parametrize("name", ["B", "F"])
def test_public_instances_are_proven_optimal(name: str) -> None:
    table = read_minimalloc_csv(INSTANCES / f"{name}.1048576.csv")
    starts, ends, sizes = (np.array(c) for c in (table.lower, table.upper, table.size_bytes))
    packing = pack(starts, ends, sizes, capacity_bytes=2**20, proof=True, time_limit_s=60)
    assert (packing.peak_bytes, packing.optimal) == (2**20, True)
    assert overlapping_pair(starts, ends, packing.offsets, sizes) is None


def test_no_time_keeps_the_incumbent() -> None:
    starts, ends, sizes = random_instance(40, seed=5)
    instance = Instance(starts, ends, sizes, 1, 1)
    incumbent = Layout(np.cumsum(sizes) - sizes, int(sizes.sum()), "one above the other")
    layout, proven = exact_layout(instance, incumbent, 0.0, 0)
    assert layout is incumbent
    assert not proven


def test_packing_imports_no_plots_and_leaves_them_usable() -> None:
    """In a process of its own, where nothing has imported them."""
    program = (
        "import sys\n"
        "from ullage.solvers.packing.pack import pack\n"
        "assert pack([0, 1], [2, 3], [8, 8]).peak_bytes == 16\n"
        "assert 'omnimalloc' in sys.modules and 'matplotlib' not in sys.modules\n"
        "import matplotlib.pyplot\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


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
