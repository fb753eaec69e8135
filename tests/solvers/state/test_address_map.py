"""The address map against a look at all."""

from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.rectangles import random_instance
from ullage.compiler.common.errors import UsageError
from ullage.solvers.packing.validate import overlapping_pair
from ullage.solvers.state.address_map import AddressMap, best_fit


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
