"""What must finish before what when a plan is replayed: a graph of events without times.

A weight w is fetched into sram, to addresses where an activation a was before; `conv` reads w. An
arrow means "happens only after":

    step relu ---> a released ---> space of w free ---> transfer of w ---> w arrived
    (last use                                                                  |
     of a)                               w released <--- step conv <-----------'

Steps and transfers take time. The three events of a residency (its space is free, its data has
arrived, it is released) take none.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.hwmodels.replay.unroll import LoopBoundary
from ullage.hwmodels.traffic import OperandCharges


@dataclass(frozen=True)
class EventGraph:
    """Events and what each waits for; an event happens once `waits[event]` others have happened.

    Events are numbered: first T steps (the operator has finished), then the transfers (finished),
    then three for each place: its space is free, its data has arrived, it is released. Places are
    the R residencies, followed by the workspace of each step that has any. The events of places
    take no time.

    Attributes:
        waits: how many events each event waits for.
        followers: the events that wait for each event.
        steps: T.
        transfers: number of transfers.
        places: residencies and workspaces.
    """

    waits: list[int]
    followers: list[list[int]]
    steps: int
    transfers: int
    places: tuple[Residency, ...]

    @property
    def first_instant(self) -> int:
        """Number of the first event that takes no time: nothing but other events delays it."""
        return self.steps + self.transfers


# Place number p has the events `first_instant` + 3 p + one of these.
_FREE, _ARRIVED, _RELEASED = 0, 1, 2


def precedence(plan: Plan, operands: OperandCharges, period: int = 0) -> EventGraph:
    """Say which events of a plan wait for which others, by space and by data.

    - Space: a residency's space is free once every residency that overlaps its addresses, and that
      ended at or before its start, is released: operators that use it and transfers from it have
      finished. Workspace counts as a residency of its step at the top of the fastest tier.
    - Data: a transfer waits for the arrival of its source residencies and for the last operator
      before it that writes those bytes. An operator waits for the arrival of what it uses, and,
      where it overwrites bytes, for the earlier transfers that read them.

    Events are never made to wait for something planned later, so the replay of a legal plan
    cannot get stuck.

    Args:
        plan: the plan; several inferences of it as `unroll` lists them.
        operands: its charges.
        period: steps of one inference where there are several, else 0. A loop-carried weight has
            arrived as soon as it had arrived in the inference before, and its space is released
            together with that of the residency that it continues. Inputs are at home once the
            last step of the inference before is over.

    Raises:
        VerificationError: two residencies overlap in address and steps, or a transfer has no
            source or destination residency.
    """
    steps = len(plan.problem.steps)
    places, workspace_steps = _places(plan)
    base = steps + len(plan.transfers)
    waits = [0] * (base + 3 * len(places))
    followers: list[list[int]] = [[] for _ in waits]

    def after(first: int, then: int) -> None:
        followers[first].append(then)
        waits[then] += 1

    for place in range(len(places)):
        after(base + 3 * place + _FREE, base + 3 * place + _ARRIVED)
        after(base + 3 * place + _ARRIVED, base + 3 * place + _RELEASED)
    boundary = LoopBoundary(plan, period)
    for earlier, later in _space_order(places):
        if boundary.continues(places[earlier], places[later]):
            after(base + 3 * earlier + _ARRIVED, base + 3 * later + _FREE)
            after(base + 3 * earlier + _RELEASED, base + 3 * later + _RELEASED)
        else:
            after(base + 3 * earlier + _RELEASED, base + 3 * later + _FREE)
    for place, t in boundary.inputs(places):
        after(t - 1, base + 3 * place + _FREE)

    first_use: dict[int, int] = {}
    last_use: dict[int, int] = {}
    writes: dict[int, list[tuple[int, int, int]]] = {}
    for t, place, start, end, write in zip(
        operands.step.tolist(),
        operands.residency.tolist(),
        operands.start_byte.tolist(),
        operands.end_byte.tolist(),
        operands.write.tolist(),
        strict=True,
    ):
        first_use.setdefault(place, t)
        last_use[place] = t
        if write:
            writes.setdefault(place, []).append((t, start, end))
    for place, t in enumerate(workspace_steps, start=len(plan.residencies)):
        first_use[place] = last_use[place] = t
    # Operators run in order: the first user's wait and the last user's end speak for all.
    for place, t in first_use.items():
        after(base + 3 * place + _ARRIVED, t)
        after(last_use[place], base + 3 * place + _RELEASED)

    residencies = _by_buffer_and_tier(plan)
    for index, transfer in enumerate(plan.transfers):
        event = steps + index
        t = transfer.moves[0][0]
        for place in _holders(plan, residencies, transfer, source=True):
            after(base + 3 * place + _ARRIVED, event)
            after(event, base + 3 * place + _RELEASED)
            before, behind = _nearest_writes(writes.get(place, ()), transfer, t)
            if before is not None:
                after(before, event)
            if behind is not None:
                after(event, behind)
        for place in _holders(plan, residencies, transfer, source=False):
            after(base + 3 * place + _FREE, event)
            after(event, base + 3 * place + _ARRIVED)
    return EventGraph(waits, followers, steps, len(plan.transfers), places)


def _places(plan: Plan) -> tuple[tuple[Residency, ...], list[int]]:
    """Residencies, then the workspace of each step that has any, with those steps."""
    fastest = plan.target.fastest
    scratch: list[Residency] = []
    for t, step in enumerate(plan.problem.steps):
        size = step.workspace_bytes
        if size:
            top = fastest.capacity_bytes - size
            scratch.append(Residency(-1, 0, size, fastest.name, top, t, t, t + 1))
    return (*plan.residencies, *scratch), [place.start for place in scratch]


def _space_order(places: Sequence[Residency]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of places where the later takes addresses that the earlier had.

    Only the latest occupant of each address is paired: it in turn waited for the one before. A
    sweep over the starts keeps, for each tier, which place occupied which addresses last:

        address        0         64                  192       256
        last occupant  | place 3 |      place 0      | place 7 |
        next, place 8            |===================|=========|    pairs (0, 8), (7, 8)
    """
    pairs: list[tuple[int, int]] = []
    tiers = {place.tier for place in places}
    starts: dict[str, list[int]] = {tier: [] for tier in tiers}
    # (end address, occupant) of each run that begins at the address in `starts`.
    runs: dict[str, list[tuple[int, int]]] = {tier: [] for tier in tiers}
    for later in sorted(range(len(places)), key=lambda i: (places[i].start, places[i].end)):
        place = places[later]
        low, high = place.offset, place.offset + place.end_byte - place.start_byte
        if low >= high:
            continue
        begins, owners = starts[place.tier], runs[place.tier]
        first = bisect_left(begins, low)
        if first > 0 and owners[first - 1][0] > low:
            first -= 1
        last = bisect_left(begins, high)
        overlapped = owners[first:last]
        for earlier in dict.fromkeys(owner for _, owner in overlapped):
            if places[earlier].end > place.start:
                raise _overlap(places[earlier], place)
            pairs.append((earlier, later))
        new_begins, new_owners = [low], [(high, later)]
        if overlapped and begins[first] < low:
            new_begins.insert(0, begins[first])
            new_owners.insert(0, (low, overlapped[0][1]))
        if overlapped and overlapped[-1][0] > high:
            new_begins.append(high)
            new_owners.append(overlapped[-1])
        begins[first:last] = new_begins
        owners[first:last] = new_owners
    return pairs


def _overlap(first: Residency, second: Residency) -> VerificationError:
    """The error for two places that have the same address in the same step."""
    both = [
        f"[{place.offset}, {place.offset + place.end_byte - place.start_byte})"
        f" in steps [{place.start}, {place.end})"
        for place in (first, second)
    ]
    return VerificationError(
        f"two residencies overlap in {second.tier}: {both[0]} and {both[1]}; a residency may"
        " take an address only once the one before has ended",
        {"tier": second.tier, "step": second.start, "offset": second.offset},
    )


@dataclass(slots=True)
class _Stays:
    """The residencies of one byte range of a buffer in one tier, by start.

    Attributes:
        starts: when each begins, ascending.
        indices: which residency each is.
        reach: the latest end of each and all before it.
    """

    starts: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    reach: list[int] = field(default_factory=list)

    def at(self, t: int) -> Iterator[int]:
        """Residencies that have begun at step t, latest first; stops when all others have ended."""
        for i in range(bisect_right(self.starts, t) - 1, -1, -1):
            if self.reach[i] <= t:
                return
            yield self.indices[i]


class _Placed:
    """The residencies of one buffer in one tier, by byte range and start.

    Buffers in slices have thousands of them, most of which stay for the whole program: what a
    transfer moves is found by its bytes first.

    Args:
        stays: the residencies by [start, end) of their bytes.
    """

    def __init__(self, stays: Mapping[tuple[int, int], _Stays]) -> None:
        self._stays = stays
        self._ranges = sorted(stays)
        self._lows = [low for low, _ in self._ranges]
        self._reach = list(accumulate((high for _, high in self._ranges), max))

    def at(self, t: int, low: int, high: int) -> Iterator[int]:
        """Residencies that have begun at step t and hold some of the bytes [low, high)."""
        same = self._stays.get((low, high))
        if same is not None:  # most transfers move all that a residency holds
            yield from same.at(t)
        for i in range(bisect_left(self._lows, high) - 1, -1, -1):
            if self._reach[i] <= low:
                return
            held = self._ranges[i]
            if held[1] > low and held != (low, high):
                yield from self._stays[held].at(t)


def _by_buffer_and_tier(plan: Plan) -> dict[tuple[int, str], _Placed]:
    """The residencies of each buffer in each tier."""
    found: dict[tuple[int, str], dict[tuple[int, int], _Stays]] = {}
    items = plan.residencies
    for index in sorted(range(len(items)), key=lambda i: items[i].start):
        item = items[index]
        by_range = found.setdefault((item.buffer, item.tier), {})
        stays = by_range.setdefault((item.start_byte, item.end_byte), _Stays())
        stays.starts.append(item.start)
        stays.indices.append(index)
        stays.reach.append(max(item.end, stays.reach[-1] if stays.reach else 0))
    return {key: _Placed(by_range) for key, by_range in found.items()}


def _holders(
    plan: Plan,
    residencies: dict[tuple[int, str], _Placed],
    transfer: Transfer,
    *,
    source: bool,
) -> list[int]:
    """The residencies that a transfer reads (ready at its first step) or fills (not ready yet).

    Raises:
        VerificationError: they do not cover all its bytes.
    """
    tier = transfer.source if source else transfer.destination
    t = transfer.moves[0][0]
    placed = residencies.get((transfer.buffer, tier))
    holders: list[int] = []
    covered = 0
    asked = transfer.start_byte, transfer.end_byte
    for index in placed.at(t, *asked) if placed else ():
        if covered >= transfer.end_byte - transfer.start_byte:
            break  # a byte is in a tier once at a time
        place = plan.residencies[index]
        low = max(place.start_byte, transfer.start_byte)
        high = min(place.end_byte, transfer.end_byte)
        serves = place.ready <= t < place.end if source else place.start <= t < place.ready
        if low < high and serves:
            holders.append(index)
            covered += high - low
    if covered < transfer.end_byte - transfer.start_byte:
        name = plan.problem.buffers[transfer.buffer].name
        side = "a ready source" if source else "a destination not yet ready"
        raise VerificationError(
            f"the transfer of {name} [{transfer.start_byte}, {transfer.end_byte}) at step {t}"
            f" needs {side} in {tier} for all its bytes, {covered} have one; add residencies",
            {"buffer": name, "step": t, "tier": tier, "covered_bytes": covered},
        )
    return sorted(holders, key=lambda index: (plan.residencies[index].start_byte, index))


def _nearest_writes(
    writes: Sequence[tuple[int, int, int]], transfer: Transfer, t: int
) -> tuple[int | None, int | None]:
    """The last step before `t` and the first from it on that write bytes of the transfer."""
    middle = bisect_left(writes, (t, -1, -1))

    def nearest(part: Iterable[tuple[int, int, int]]) -> int | None:
        touching = (s for s, a, z in part if a < transfer.end_byte and z > transfer.start_byte)
        return next(touching, None)

    return nearest(reversed(writes[:middle])), nearest(writes[middle:])
