"""The allocation game in plain Python: dictionaries and lists, no arrays, nothing compiled."""

from dataclasses import dataclass, field, replace

from ullage.compiler.ir.target import Link
from ullage.hwmodels.cost import compute_seconds
from ullage.rl_agent.env.game_instance import GameInstance
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Access, Segment

WINDOW = 64
COPY, NOCOPY, DROP = 0, 1, 2


@dataclass
class Twin:
    """A game: for each segment its residencies by (first access, last access)."""

    instance: GameInstance
    forced: set[tuple[int, int]] = field(default_factory=set)
    decided: list[int] = field(default_factory=list)
    rewinds: int = 0

    def __post_init__(self) -> None:
        self.problem, self.target = (
            self.instance.residency_state.problem,
            self.instance.residency_state.target,
        )
        self.compute_s = compute_seconds(self.problem)[0].tolist()
        segments = self.instance.segments
        self.order = sorted(
            (access.step, int(a), j)
            for a in self.instance.playable
            for j, access in enumerate(segments[int(a)].accesses)
        )
        self.restart()

    def restart(self) -> None:
        """Back to before the first move."""
        start = self.instance.residency_state.residencies
        self.residencies: dict[int, dict[tuple[int, int], SegmentResidency]] = {
            a: {(first, last): residency for first, (last, residency) in residencies.items()}
            for a, residencies in enumerate(start)
        }
        self.cursor = 0

    def link(self, source: str, destination: str) -> Link:
        """The link of two tiers."""
        link = self.target.link(source, destination)
        assert link is not None
        return link

    # -- cost, from scratch ------------------------------------------------------------------

    def busy(
        self,
    ) -> tuple[list[float], dict[str, list[float]], dict[tuple[str, str], list[float]]]:
        """Roofline by step, busy seconds of tiers and of links."""
        steps = len(self.problem.steps)
        tiers = {t.name: [0.0] * steps for t in self.target.tiers}
        links = {(k.source, k.destination): [0.0] * steps for k in self.target.links}
        fastest = self.target.fastest.name
        unit, exposed = list(self.compute_s), 1.0 - self.target.compute.overlap
        for a, segment in enumerate(self.instance.segments):
            by_span = self.residencies[a]
            for j, access in enumerate(segment.accesses):
                near = any(first <= j <= last for first, last in by_span)
                tier = self.target.tier(fastest if near else segment.home)
                seconds = access.read_bytes / tier.read_bytes_per_s
                if access.written_bytes:
                    seconds += access.written_bytes / tier.write_bytes_per_s
                tiers[tier.name][access.step] += seconds
                unit[access.step] += exposed * seconds
            for residency in by_span.values():
                self._charge(tiers, links, segment.home, fastest, residency.fill)
                self._charge(tiers, links, fastest, segment.home, residency.spill)
        rows = [unit, *tiers.values(), *links.values()]
        return [max(row[t] for row in rows) for t in range(steps)], tiers, links

    def _charge(
        self,
        tiers: dict[str, list[float]],
        links: dict[tuple[str, str], list[float]],
        source: str,
        destination: str,
        moves: Moves,
    ) -> None:
        for position, (step, size) in enumerate(moves):
            link = self.link(source, destination)
            tiers[source][step] += size / self.target.tier(source).read_bytes_per_s
            tiers[destination][step] += size / self.target.tier(destination).write_bytes_per_s
            setup = 0.0 if position else link.setup_s
            links[source, destination][step] += size / link.bandwidth_bytes_per_s + setup

    def total_s(self) -> float:
        """Sum of the roofline."""
        return sum(self.busy()[0])

    def room(self, source: str, destination: str, low: int, high: int) -> list[int]:
        """Bytes that could move in each step at no cost, whole ones."""
        busy, tiers, links = self.busy()
        link = self.link(source, destination)
        here, there = self.target.tier(source), self.target.tier(destination)
        rooms = []
        for t in range(low, high):
            free = max(0.0, busy[t] - links[source, destination][t] - link.setup_s)
            most = min(
                (busy[t] - tiers[source][t]) * here.read_bytes_per_s,
                (busy[t] - tiers[destination][t]) * there.write_bytes_per_s,
                free * link.bandwidth_bytes_per_s,
            )
            rooms.append(int(max(0.0, most) + 1e-6))
        return rooms

    def growth(self, source: str, destination: str, low: int, high: int, size: int) -> list[float]:
        """Seconds by which each step takes longer if it moves all bytes of a transfer."""
        busy, tiers, links = self.busy()
        link = self.link(source, destination)
        here, there = self.target.tier(source), self.target.tier(destination)
        grown = [
            max(
                tiers[source][t] + size / here.read_bytes_per_s,
                tiers[destination][t] + size / there.write_bytes_per_s,
                links[source, destination][t] + size / link.bandwidth_bytes_per_s + link.setup_s,
            )
            for t in range(low, high)
        ]
        return [max(0.0, seconds - busy[t]) for t, seconds in enumerate(grown, low)]

    def spread(
        self, size: int, source: str, destination: str, low: int, high: int, *, late: bool = False
    ) -> Moves:
        """Bytes into idle steps in turn; the rest goes to the step that takes most.

        Of equal ones that is the latest. Without any idle step all bytes go where the step grows
        least, of equals to the one next to the use.
        """
        room = self.room(source, destination, low, high)
        turn = range(len(room) - 1, -1, -1) if late else range(len(room))
        moves: dict[int, int] = {}
        for position in turn:
            part = min(room[position], size - sum(moves.values()))
            if part:
                moves[position] = part
        rest = size - sum(moves.values())
        if moves and rest:
            moves[max(moves, key=lambda p: (moves[p], p))] += rest
        elif rest:
            growth = self.growth(source, destination, low, high, size)
            equal_s = 1e-6 / self.link(source, destination).bandwidth_bytes_per_s
            moves[next(p for p in turn if growth[p] <= min(growth) + equal_s)] = size
        return tuple((low + p, moves[p]) for p in sorted(moves))

    # -- space -------------------------------------------------------------------------------

    def aligned(self, a: int) -> int:
        """Bytes that a segment takes."""
        unit = self.target.fastest.alignment_bytes
        return -(-self.instance.segments[a].size_bytes // unit) * unit

    def load(self, step: int, but: set[tuple[int, tuple[int, int]]]) -> int:
        """Live bytes of a step, without some residencies."""
        return self.problem.steps[step].workspace_bytes + sum(
            self.aligned(a)
            for a, by_span in self.residencies.items()
            for span, s in by_span.items()
            if s.start <= step < s.end and (a, span) not in but
        )

    def settle(
        self, a: int, residency: SegmentResidency, but: set[tuple[int, tuple[int, int]]]
    ) -> SegmentResidency | None:
        """The residency where it was, else in the tightest gap, else at the top."""
        size = self.instance.segments[a].size_bytes
        scratch = max(
            self.problem.steps[t].workspace_bytes for t in range(residency.start, residency.end)
        )
        roof = self.target.fastest.capacity_bytes - scratch
        taken = sorted(
            (s.offset, s.offset + self.instance.segments[b].size_bytes)
            for b, by_span in self.residencies.items()
            for span, s in by_span.items()
            if s.start < residency.end and residency.start < s.end and (b, span) not in but
        )
        at = residency.offset
        if 0 <= at <= roof - size and all(high <= at or at + size <= low for low, high in taken):
            return residency
        unit = self.target.fastest.alignment_bytes
        gaps, floor = [], 0
        for low, high in taken:
            if min(low, roof) - floor >= size:
                gaps.append((min(low, roof) - floor, floor))
            floor = max(floor, -(-high // unit) * unit)
        if gaps:
            return replace(residency, offset=min(gaps)[1])
        return replace(residency, offset=floor) if floor + size <= roof else None

    # -- rules -------------------------------------------------------------------------------

    def span_of(self, a: int, j: int) -> tuple[int, int] | None:
        """The use span of the residency that covers an access, None for none."""
        return next((span for span in self.residencies[a] if span[0] <= j <= span[1]), None)

    def at_home(self, a: int, before: int) -> bool:
        """Whether home holds current data before an access."""
        segment, valid, j = self.instance.segments[a], self.instance.segments[a].is_given, 0
        while j < before:
            span = self.span_of(a, j)
            if span is None:
                valid = valid or segment.accesses[j].writes
                j += 1
            else:
                wrote = any(e.writes for e in segment.accesses[span[0] : span[1] + 1])
                valid = bool(self.residencies[a][span].spill) or (valid and not wrote)
                j = span[1] + 1
        return valid

    def owes(self, a: int, first: int, last: int) -> bool:
        """Whether a residency must leave a copy at home."""
        segment = self.instance.segments[a]
        followed = last + 1 < len(segment.accesses)
        if not (segment.accesses[last + 1].reads if followed else segment.is_output):
            return False
        wrote = any(e.writes for e in segment.accesses[first : last + 1])
        return wrote or not self.at_home(a, first)

    def leave(
        self, a: int, residency: SegmentResidency, first: int, last: int, limit: int,
        but: set[tuple[int, tuple[int, int]]],
    ) -> SegmentResidency | None:  # fmt: skip
        """The residency with a spill and an address."""
        segment, fastest = self.instance.segments[a], self.target.fastest.name
        if self.target.link(fastest, segment.home) is None:
            return None
        end = segment.accesses[last].step + 1
        writes = [e.step for e in segment.accesses[first : last + 1] if e.writes]
        after = max([*writes, residency.ready - 1]) + 1
        own = {(a, span) for span in self.residencies[a] if span == (last, last)}
        for extra in (WINDOW, 0):
            reach = min(limit, end + extra)
            for t in range(end, reach):
                if self.load(t, own) + self.aligned(a) > self.target.fastest.capacity_bytes:
                    reach = t
                    break
            if after >= reach:
                continue
            spill = self.spread(segment.size_bytes, fastest, segment.home, after, reach)
            found = self.settle(
                a, replace(residency, end=max(end, spill[-1][0] + 1), spill=spill), but
            )
            if found is not None:
                return found
        return None

    def closed(self, a: int, j: int) -> tuple[bool, SegmentResidency | None]:
        """Whether the residency before access j can end, and what it becomes."""
        span = self.span_of(a, j - 1) if j else None
        if span is None or self.residencies[a][span].spill or not self.owes(a, span[0], j - 1):
            return True, None
        step = self.instance.segments[a].accesses[j].step
        limit = min([step, *(s.start for r, s in self.residencies[a].items() if r[0] >= j)])
        residency = self.leave(a, self.residencies[a][span], span[0], j - 1, limit, {(a, span)})
        return residency is not None, residency

    def kept(self, a: int, j: int) -> SegmentResidency | None:
        """The residency of NOCOPY."""
        segment = self.instance.segments[a]
        access = segment.accesses[j]
        span = self.span_of(a, j - 1) if j else None
        if span is None and access.reads:
            return None
        residency = SegmentResidency(a, access.step, access.step, access.step + 1)
        if span is not None:
            residency = replace(self.residencies[a][span], end=access.step + 1, spill=())
        first = j if span is None else span[0]
        but = {(a, span), (a, (j, j))} if span else {(a, (j, j))}
        if j + 1 == len(segment.accesses) and self.owes(a, first, j):
            return self.leave(a, residency, first, j, len(self.problem.steps), but)
        return self.settle(a, residency, but)

    def copied(self, a: int, j: int, closing: SegmentResidency | None) -> SegmentResidency | None:
        """The residency of COPY."""
        segment, fastest = self.instance.segments[a], self.target.fastest.name
        access: Access = segment.accesses[j]
        if not access.reads or self.target.link(segment.home, fastest) is None:
            return None
        steps = [0, access.step - WINDOW, *(e.step + 1 for e in segment.accesses[:j] if e.writes)]
        residencies = [s for span, s in self.residencies[a].items() if span[0] < j]
        for residency in (*residencies, *([closing] if closing else [])):
            steps += [residency.end, *(t + 1 for t, _ in residency.spill)]
        low = max(steps)
        own = {(a, (j, j))}
        for t in range(access.step - 1, low - 1, -1):
            if self.load(t, own) + self.aligned(a) > self.target.fastest.capacity_bytes:
                low = t + 1
                break
        for begin in (low, max(low, access.step - 1)):
            if begin < access.step:
                found = self._copied_from(a, j, segment, begin, own)
                if found is not None:
                    return found
        return None

    def _copied_from(
        self, a: int, j: int, segment: Segment, low: int, own: set[tuple[int, tuple[int, int]]]
    ) -> SegmentResidency | None:
        access, fastest = segment.accesses[j], self.target.fastest.name
        used = segment.accesses[j - 1].step if j else -1
        for begin in (low, used):
            ends = (segment.home, fastest)
            fill = self.spread(segment.size_bytes, *ends, begin, access.step, late=True)
            if fill[-1][0] >= used:
                break
        residency = SegmentResidency(a, fill[0][0], fill[-1][0] + 1, access.step + 1, fill)
        if j + 1 == len(segment.accesses) and access.writes and segment.is_output:
            return self.leave(a, residency, j, j, len(self.problem.steps), own)
        return self.settle(a, residency, own)

    # -- playing -----------------------------------------------------------------------------

    def mask(self) -> list[bool]:
        """What is legal at the cursor."""
        _, a, j = self.order[self.cursor]
        closes, closing = self.closed(a, j)
        if (a, j) in self.forced:
            return [False, False, closes]
        copies = closes and self.copied(a, j, closing) is not None
        return [copies, self.kept(a, j) is not None, closes]

    def play(self, action: int) -> None:
        """Decide and move on."""
        _, a, j = self.order[self.cursor]
        span = self.span_of(a, j - 1) if j else None
        if action == NOCOPY:
            residency = self.kept(a, j)
            assert residency is not None
            self.residencies[a].pop((j, j), None)
            if span is not None:
                self.residencies[a].pop(span)
            self.residencies[a][j if span is None else span[0], j] = residency
        else:
            _, closing = self.closed(a, j)
            copied = self.copied(a, j, closing) if action == COPY else None
            if closing is not None and span is not None:
                self.residencies[a][span] = closing
            if copied is not None:
                self.residencies[a][j, j] = copied
        self.decided = [*self.decided[: self.cursor], action]
        self.cursor += 1

    def step(self, action: int) -> bool:
        """Play; True at the end. Dead ends rewind to where the residency began and drop there."""
        self.play(action)
        while self.cursor < len(self.order):
            if any(self.mask()):
                return False
            self._rewind()
        return True

    def _rewind(self) -> None:
        _, a, j = self.order[self.cursor]
        span = self.span_of(a, j - 1)
        assert span is not None
        places = [p for p, (_, b, i) in enumerate(self.order) if b == a and span[0] <= i < j]
        back_to = next(p for p in places if self.decided[p] != DROP)
        self.forced.add(self.order[back_to][1:])
        before = self.decided[:back_to]
        self.restart()
        for action in (*before, DROP):
            self.play(action)
        self.rewinds += 1
