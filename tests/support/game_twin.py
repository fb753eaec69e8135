"""The allocation game in plain Python: dictionaries and lists, no arrays, nothing compiled."""

from dataclasses import dataclass, field, replace

from ullage.hwmodels.cost import compute_seconds
from ullage.rl_agent.env.game_instance import Table
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Atom, Event

WINDOW = 64
COPY, NOCOPY, DROP = 0, 1, 2


@dataclass
class Twin:
    """A game: for each atom its stays by (first event, last event)."""

    table: Table
    forced: set[tuple[int, int]] = field(default_factory=set)
    decided: list[int] = field(default_factory=list)
    rewinds: int = 0

    def __post_init__(self) -> None:
        self.problem, self.target = self.table.occupancy.problem, self.table.occupancy.target
        self.compute_s = compute_seconds(self.problem)[0].tolist()
        atoms = self.table.atoms
        self.order = sorted(
            (event.step, int(a), j)
            for a in self.table.playable
            for j, event in enumerate(atoms[int(a)].events)
        )
        self.restart()

    def restart(self) -> None:
        """Back to before the first move."""
        start = self.table.occupancy.stays
        self.stays: dict[int, dict[tuple[int, int], Stay]] = {
            a: {(first, last): stay for first, (last, stay) in stays.items()}
            for a, stays in enumerate(start)
        }
        self.cursor = 0

    # -- cost, from scratch ------------------------------------------------------------------

    def busy(
        self,
    ) -> tuple[list[float], dict[str, list[float]], dict[tuple[str, str], list[float]]]:
        """Roofline by step, busy seconds of tiers and of links."""
        steps = len(self.problem.steps)
        tiers = {t.name: [0.0] * steps for t in self.target.tiers}
        links = {(k.source, k.destination): [0.0] * steps for k in self.target.links}
        fastest = self.target.fastest.name
        for a, atom in enumerate(self.table.atoms):
            runs = self.stays[a]
            for j, event in enumerate(atom.events):
                near = any(first <= j <= last for first, last in runs)
                tier = self.target.tier(fastest if near else atom.home)
                tiers[tier.name][event.step] += event.read_bytes / tier.read_bytes_per_s
                if event.written_bytes:
                    tiers[tier.name][event.step] += event.written_bytes / tier.write_bytes_per_s
            for stay in runs.values():
                self._charge(tiers, links, atom.home, fastest, stay.fill)
                self._charge(tiers, links, fastest, atom.home, stay.spill)
        rows = [self.compute_s, *tiers.values(), *links.values()]
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
            link = self.target.link(source, destination)
            assert link is not None
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
        link = self.target.link(source, destination)
        assert link is not None
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

    # -- space -------------------------------------------------------------------------------

    def aligned(self, a: int) -> int:
        """Bytes that an atom takes."""
        unit = self.target.fastest.alignment_bytes
        return -(-self.table.atoms[a].size_bytes // unit) * unit

    def load(self, step: int, but: set[tuple[int, tuple[int, int]]]) -> int:
        """Live bytes of a step, without some stays."""
        return self.problem.steps[step].workspace_bytes + sum(
            self.aligned(a)
            for a, runs in self.stays.items()
            for run, s in runs.items()
            if s.start <= step < s.end and (a, run) not in but
        )

    def settle(self, a: int, stay: Stay, but: set[tuple[int, tuple[int, int]]]) -> Stay | None:
        """The stay where it was, else in the tightest gap, else at the top."""
        size = self.table.atoms[a].size_bytes
        scratch = max(self.problem.steps[t].workspace_bytes for t in range(stay.start, stay.end))
        roof = self.target.fastest.capacity_bytes - scratch
        taken = sorted(
            (s.offset, s.offset + self.table.atoms[b].size_bytes)
            for b, runs in self.stays.items()
            for run, s in runs.items()
            if s.start < stay.end and stay.start < s.end and (b, run) not in but
        )
        at = stay.offset
        if 0 <= at <= roof - size and all(high <= at or at + size <= low for low, high in taken):
            return stay
        unit = self.target.fastest.alignment_bytes
        gaps, floor = [], 0
        for low, high in taken:
            if min(low, roof) - floor >= size:
                gaps.append((min(low, roof) - floor, floor))
            floor = max(floor, -(-high // unit) * unit)
        if gaps:
            return replace(stay, offset=min(gaps)[1])
        return replace(stay, offset=floor) if floor + size <= roof else None

    # -- rules -------------------------------------------------------------------------------

    def run_of(self, a: int, j: int) -> tuple[int, int] | None:
        """The run that covers an event."""
        return next((run for run in self.stays[a] if run[0] <= j <= run[1]), None)

    def at_home(self, a: int, before: int) -> bool:
        """Whether home holds current data before an event."""
        atom, valid, j = self.table.atoms[a], self.table.atoms[a].is_given, 0
        while j < before:
            run = self.run_of(a, j)
            if run is None:
                valid = valid or atom.events[j].writes
                j += 1
            else:
                wrote = any(e.writes for e in atom.events[run[0] : run[1] + 1])
                valid = bool(self.stays[a][run].spill) or (valid and not wrote)
                j = run[1] + 1
        return valid

    def owes(self, a: int, first: int, last: int) -> bool:
        """Whether a stay must leave a copy at home."""
        atom = self.table.atoms[a]
        followed = last + 1 < len(atom.events)
        if not (atom.events[last + 1].reads if followed else atom.is_output):
            return False
        wrote = any(e.writes for e in atom.events[first : last + 1])
        return wrote or not self.at_home(a, first)

    def leave(
        self, a: int, stay: Stay, first: int, last: int, limit: int,
        but: set[tuple[int, tuple[int, int]]],
    ) -> Stay | None:  # fmt: skip
        """The stay with a spill and an address."""
        atom, fastest = self.table.atoms[a], self.target.fastest.name
        if self.target.link(fastest, atom.home) is None:
            return None
        end = atom.events[last].step + 1
        writes = [e.step for e in atom.events[first : last + 1] if e.writes]
        after = max([*writes, stay.ready - 1]) + 1
        own = {(a, run) for run in self.stays[a] if run == (last, last)}
        for extra in (WINDOW, 0):
            reach = min(limit, end + extra)
            for t in range(end, reach):
                if self.load(t, own) + self.aligned(a) > self.target.fastest.capacity_bytes:
                    reach = t
                    break
            if after >= reach:
                continue
            spill = _spread(atom.size_bytes, self.room(fastest, atom.home, after, reach), after)
            found = self.settle(a, replace(stay, end=max(end, spill[-1][0] + 1), spill=spill), but)
            if found is not None:
                return found
        return None

    def closed(self, a: int, j: int) -> tuple[bool, Stay | None]:
        """Whether the stay before event j can end, and what it becomes where that changes it."""
        run = self.run_of(a, j - 1) if j else None
        if run is None or self.stays[a][run].spill or not self.owes(a, run[0], j - 1):
            return True, None
        step = self.table.atoms[a].events[j].step
        limit = min([step, *(s.start for r, s in self.stays[a].items() if r[0] >= j)])
        stay = self.leave(a, self.stays[a][run], run[0], j - 1, limit, {(a, run)})
        return stay is not None, stay

    def kept(self, a: int, j: int) -> Stay | None:
        """The stay of NOCOPY."""
        atom = self.table.atoms[a]
        event = atom.events[j]
        run = self.run_of(a, j - 1) if j else None
        if run is None and event.reads:
            return None
        stay = Stay(a, event.step, event.step, event.step + 1)
        if run is not None:
            stay = replace(self.stays[a][run], end=event.step + 1, spill=())
        first = j if run is None else run[0]
        but = {(a, run), (a, (j, j))} if run else {(a, (j, j))}
        if j + 1 == len(atom.events) and self.owes(a, first, j):
            return self.leave(a, stay, first, j, len(self.problem.steps), but)
        return self.settle(a, stay, but)

    def copied(self, a: int, j: int, closing: Stay | None) -> Stay | None:
        """The stay of COPY."""
        atom, fastest = self.table.atoms[a], self.target.fastest.name
        event: Event = atom.events[j]
        if not event.reads or self.target.link(atom.home, fastest) is None:
            return None
        steps = [0, event.step - WINDOW, *(e.step + 1 for e in atom.events[:j] if e.writes)]
        stays = [s for run, s in self.stays[a].items() if run[0] < j]
        for stay in (*stays, *([closing] if closing else [])):
            steps += [stay.end, *(t + 1 for t, _ in stay.spill)]
        low = max(steps)
        own = {(a, (j, j))}
        for t in range(event.step - 1, low - 1, -1):
            if self.load(t, own) + self.aligned(a) > self.target.fastest.capacity_bytes:
                low = t + 1
                break
        for begin in (low, max(low, event.step - 1)):
            if begin < event.step:
                found = self._copied_from(a, j, atom, begin, own)
                if found is not None:
                    return found
        return None

    def _copied_from(
        self, a: int, j: int, atom: Atom, low: int, own: set[tuple[int, tuple[int, int]]]
    ) -> Stay | None:
        event, fastest = atom.events[j], self.target.fastest.name
        used = atom.events[j - 1].step if j else -1
        for begin in (low, used):
            rooms = self.room(atom.home, fastest, begin, event.step)
            fill = _spread(atom.size_bytes, rooms, begin, late=True)
            if fill[-1][0] >= used:
                break
        stay = Stay(a, fill[0][0], fill[-1][0] + 1, event.step + 1, fill)
        if j + 1 == len(atom.events) and event.writes and atom.is_output:
            return self.leave(a, stay, j, j, len(self.problem.steps), own)
        return self.settle(a, stay, own)

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
        run = self.run_of(a, j - 1) if j else None
        if action == NOCOPY:
            stay = self.kept(a, j)
            assert stay is not None
            self.stays[a].pop((j, j), None)
            if run is not None:
                self.stays[a].pop(run)
            self.stays[a][j if run is None else run[0], j] = stay
        else:
            _, closing = self.closed(a, j)
            copied = self.copied(a, j, closing) if action == COPY else None
            if closing is not None and run is not None:
                self.stays[a][run] = closing
            if copied is not None:
                self.stays[a][j, j] = copied
        self.decided = [*self.decided[: self.cursor], action]
        self.cursor += 1

    def step(self, action: int) -> bool:
        """Play; True at the end. Dead ends rewind to where the stay began and drop there."""
        self.play(action)
        while self.cursor < len(self.order):
            if any(self.mask()):
                return False
            self._rewind()
        return True

    def _rewind(self) -> None:
        _, a, j = self.order[self.cursor]
        run = self.run_of(a, j - 1)
        assert run is not None
        places = [p for p, (_, b, i) in enumerate(self.order) if b == a and run[0] <= i < j]
        back_to = next(p for p in places if self.decided[p] != DROP)
        self.forced.add(self.order[back_to][1:])
        before = self.decided[:back_to]
        self.restart()
        for action in (*before, DROP):
            self.play(action)
        self.rewinds += 1


def _spread(size: int, room: list[int], first: int, *, late: bool = False) -> Moves:
    """Bytes into free steps in turn; what is left to the step that takes most, else the first."""
    turn = range(len(room) - 1, -1, -1) if late else range(len(room))
    moves: dict[int, int] = {}
    for position in turn:
        part = min(room[position], size - sum(moves.values()))
        if part:
            moves[position] = part
    rest = size - sum(moves.values())
    if rest:
        most = max(moves, key=lambda p: (moves[p], p)) if moves else turn[0]
        moves[most] = moves.get(most, 0) + rest
    return tuple((first + p, moves[p]) for p in sorted(moves))
