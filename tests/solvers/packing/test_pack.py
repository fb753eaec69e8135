"""Offset assignment: never an overlap, never below the bound, exact where exactness is claimed."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ullage.compiler.common.errors import UsageError
from ullage.solvers.packing import pack as packing_module
from ullage.solvers.packing.branch_and_bound import exact_layout
from ullage.solvers.packing.heuristics import Layout
from ullage.solvers.packing.instance import Instance, aligned_load_bound, load_bound
from ullage.solvers.packing.minimalloc_csv import read_minimalloc_csv
from ullage.solvers.packing.pack import Packing, pack
from ullage.solvers.packing.validate import overlapping_pair
from ullage.solvers.state.address_map import AddressMap, best_fit

INSTANCES = Path(__file__).parents[3].parent / "shared" / "minimalloc"

Rows = list[tuple[int, int, int]]  # start, duration, size


def rows(most: int, largest: int = 40, smallest: int = 0) -> st.SearchStrategy[Rows]:
    row = st.tuples(st.integers(-5, 12), st.integers(smallest, 9), st.integers(smallest, largest))
    return st.lists(row, max_size=most, min_size=smallest)


def arrays(buffers: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(buffers, dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 0] + table[:, 1], table[:, 2]


def random_instance(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    starts = random.integers(0, count, count)
    durations = 1 + random.lognormal(1.5, 1.2, count).astype(np.int64)
    return starts, starts + durations, 1 + random.lognormal(4, 1.2, count).astype(np.int64)


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


def test_huge_times_and_sizes_residency_exact() -> None:
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


def slow_best_fit(
    taken: list[tuple[int, int, int, int]], request: tuple[int, int, int], alignment: int, top: int
) -> int | None:
    """Walk the memory byte by byte."""
    start, end, size = request
    blocked = [False] * top
    for begin, finish, offset, length in taken:
        if begin < end and finish > start:
            blocked[offset : offset + length] = [True] * length
    highest = max((a + 1 for a in range(top) if blocked[a]), default=0)
    choices = []
    address = 0
    while address < highest:
        if blocked[address]:
            address += 1
            continue
        stop = next(a for a in range(address, top) if blocked[a])
        floor = -(-address // alignment) * alignment
        if stop - floor >= size:
            choices.append((stop - floor, floor))
        address = stop
    if choices:
        return min(choices)[1]
    floor = -(-highest // alignment) * alignment
    return floor if floor + size <= top else None


class AddressMapTwin(RuleBasedStateMachine):
    """The map beside a list of rectangles."""

    def __init__(self) -> None:
        super().__init__()
        self.map = AddressMap(60, 4)
        self.taken: dict[int, tuple[int, int, int, int]] = {}

    @rule(start=st.integers(0, 8), duration=st.integers(1, 6), size=st.integers(1, 20))
    def put(self, start: int, duration: int, size: int) -> None:
        """Place a rectangle where both agree."""
        request = (start, start + duration, size)
        expected = slow_best_fit(list(self.taken.values()), request, 4, 60)
        found = self.map.find(*request)
        assert found == expected
        if found is not None:
            assert self.map.is_free(start, start + duration, found, size)
            rectangle = self.map.occupy(start, start + duration, found, size)
            assert rectangle not in self.taken
            self.taken[rectangle] = (start, start + duration, found, size)
            assert not self.map.is_free(start, start + 1, found, 1)

    @rule(index=st.integers(0, 100))
    def take_away(self, index: int) -> None:
        """Release one of the rectangles."""
        if self.taken:
            rectangle = sorted(self.taken)[index % len(self.taken)]
            self.map.release(rectangle)
            del self.taken[rectangle]

    @invariant()
    def counts(self) -> None:
        """Both hold as many."""
        assert len(self.map) == len(self.taken)


AddressMapTwin.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestAddressMapTwin = AddressMapTwin.TestCase


def test_address_map_grows_and_never_overlaps() -> None:
    starts, ends, sizes = random_instance(500, seed=2)
    addresses = AddressMap(int(sizes.sum()))
    offsets = [addresses.place(*map(int, row)) for row in zip(starts, ends, sizes, strict=True)]
    assert len(addresses) == 500
    assert overlapping_pair(starts, ends, np.array(offsets), sizes) is None


def test_address_map_refuses_what_makes_no_sense() -> None:
    addresses = AddressMap(10)
    rectangle = addresses.occupy(0, 1, 0, 5)
    addresses.release(rectangle)
    with pytest.raises(UsageError, match="no rectangle"):
        addresses.release(rectangle)
    with pytest.raises(UsageError, match="alignment"):
        AddressMap(10, 0)
    assert addresses.place(0, 1, 11) is None
    assert addresses.place(0, 1, 0) == 0


def test_best_fit_prefers_the_tightest_gap() -> None:
    # Free: [0, 10), [20, 24), and above 30.
    occupied = np.array([[0, 9, 10, 10], [0, 9, 24, 6]], dtype=np.int64)
    assert best_fit(*occupied.T, 0, 5, 4, 1, 100) == 20
    assert best_fit(*occupied.T, 0, 5, 5, 1, 100) == 0
    assert best_fit(*occupied.T, 0, 5, 11, 1, 100) == 30
    assert best_fit(*occupied.T, 0, 5, 11, 1, 40) is None
    assert best_fit(*occupied.T, 9, 12, 11, 1, 40) == 0


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
