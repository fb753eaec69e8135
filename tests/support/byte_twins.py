"""Figures of a problem worked out byte by byte, and targets on which they differ."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.support.targets import HAND
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Link, Target, Tier

# Three tiers, the fastest amid the others in the alphabet; two queues from dram to it.
THREE = replace(
    HAND,
    tiers=(
        Tier("fast", 1000, 70.0, 40.0, 1, 1.25, 2.5),
        Tier("dram", 1000, 9.0, 11.0, 1, 9.5, 21.0),
        Tier("flash", 1000, 8.5, 6.5, 1, 0.75, 30.0),
    ),
    links=(
        Link("dram", "fast", 10.0, 0.0, 3.5),
        Link("fast", "dram", 5.0, 0.0, 4.0),
        Link("dram", "fast", 3.0, 0.0, 3.0, name="second queue"),
        Link("flash", "dram", 2.0, 0.0, 0.5),
    ),
    homes={"input": "dram", "weight": "flash", "activation": "fast", "output": "dram"},
)
# What operators reach where: all tiers, not the slowest, only the fastest; homes here and there.
REACHES = tuple(
    replace(THREE, operand_access=access, weights_in_fastest=weights, homes=homes, tiers=tiers)
    for access, weights in (("any", False), ("fastest", False), ("fastest", True))
    for homes in (THREE.homes, {**THREE.homes, "input": "fast", "activation": "flash"})
    for tiers in (
        THREE.tiers,
        (*THREE.tiers[:2], replace(THREE.tiers[2], addressable=False, read_only=True)),
        tuple(
            replace(tier, addressable=False, read_only=tier is THREE.tiers[0])
            for tier in THREE.tiers
        ),
    )
)


def renamed(target: Target, names: Sequence[str]) -> Target:
    """The target with these names for its tiers, fastest first: no figure may depend on them."""
    new = {tier.name: name for tier, name in zip(target.tiers, names, strict=True)}
    return replace(
        target,
        tiers=tuple(replace(tier, name=new[tier.name]) for tier in target.tiers),
        links=tuple(
            replace(link, source=new[link.source], destination=new[link.destination])
            for link in target.links
        ),
        homes={kind: new[home] for kind, home in target.homes.items()},
    )


def compulsory_bytes(problem: Problem, *, resident: bool) -> tuple[list[float], list[float]]:
    """(loads, stores) by buffer; with `resident`, bytes out of reach at home count whole."""
    loads, stores = [0.0] * len(problem.buffers), [0.0] * len(problem.buffers)
    target = problem.target
    for b, buffer in enumerate(problem.buffers):
        home = target.tier(target.homes[buffer.kind])
        if home is target.tiers[0]:
            continue
        out_of_reach = target.must_be_fastest(buffer.kind) or not home.addressable
        is_loaded = buffer.kind == "input"
        is_loaded |= buffer.kind == "weight" and not problem.steady_state
        for byte in range(buffer.size_bytes):
            load, store, is_original = 0.0, 0.0, is_loaded
            for _, use in problem.uses_of[b]:
                if use.start_byte <= byte < use.end_byte:
                    share = use.accessed_bytes / (use.end_byte - use.start_byte)
                    share = 1.0 if resident and out_of_reach else share
                    if use.write:
                        store, is_original = share, False
                    elif is_original:
                        load = max(load, share)
            loads[b] += load
            if any(low <= byte < high for low, high in buffer.outputs):
                stores[b] += store
    return loads, stores


def live_bytes(problem: Problem, target: Target | None) -> list[int]:
    """Live non-weight bytes at each step, as `live_bytes_bound` defines them."""
    last = len(problem.steps) - 1
    live = [0] * (last + 1)
    for b, buffer in enumerate(problem.buffers):
        waits = target is not None and target.homes[buffer.kind] != target.tiers[0].name
        for byte in range(buffer.size_bytes):
            used = [t for t, use in problem.uses_of[b] if use.start_byte <= byte < use.end_byte]
            stays = not waits and any(low <= byte < high for low, high in buffer.outputs)
            is_there = not waits and buffer.kind == "input" and bool(used or stays)
            if buffer.kind != "weight" and (used or is_there):
                for t in range(0 if is_there else used[0], (last if stays else used[-1]) + 1):
                    live[t] += 1
    return live


def operand_bytes(problem: Problem, step: Step) -> int:
    """Different non-weight bytes that a step uses."""
    return len(
        {
            (use.buffer, byte)
            for use in step.uses
            for byte in range(use.start_byte, use.end_byte)
            if problem.buffers[use.buffer].kind != "weight"
        }
    )


def operand_seconds(problem: Problem, step: Step) -> float:
    """Least time of a step's operands at the ports, however they are spread."""
    target = problem.target
    fast = target.tiers[0]
    reached = [tier for tier in target.tiers if tier is fast or tier.addressable]
    everywhere = sum(
        tier.read_bytes_per_s
        if tier.read_only
        else max(tier.read_bytes_per_s, tier.write_bytes_per_s)
        for tier in reached
    )
    spread_s = confined_s = 0.0
    for use in step.uses:
        spread_s += use.accessed_bytes / everywhere
        if target.must_be_fastest(problem.buffers[use.buffer].kind):
            rate = fast.write_bytes_per_s if use.write else fast.read_bytes_per_s
            confined_s += use.accessed_bytes / rate
    return max(spread_s, confined_s)


def cheapest_seconds(problem: Problem, step: Step) -> float:
    """Time of a step's operands one after the other, each byte in the tier where it takes least."""
    target = problem.target
    total = 0.0
    for use in step.uses:
        confined = target.must_be_fastest(problem.buffers[use.buffer].kind)
        total += min(
            use.accessed_bytes / (tier.write_bytes_per_s if use.write else tier.read_bytes_per_s)
            for m, tier in enumerate(target.tiers)
            if m == 0 or (tier.addressable and not confined and not (use.write and tier.read_only))
        )
    return total


def operand_and_home_j(problem: Problem) -> float:
    """Least energy of operands and of compulsory traffic, buffer by buffer, without MACs."""
    target = problem.target
    fast = target.tiers[0]
    loads, stores = compulsory_bytes(problem, resident=True)
    total = 0.0
    for b, buffer in enumerate(problem.buffers):
        home = target.tier(target.homes[buffer.kind])
        confined = target.must_be_fastest(buffer.kind)
        reached = [fast]
        if not confined:
            reached += [tier for tier in target.tiers[1:] if tier.addressable]
        read_j = min(tier.read_energy_j_per_byte for tier in reached)
        writable = [t.write_energy_j_per_byte for t in reached if not t.read_only]
        write_j = min(writable, default=0.0)
        for _, use in problem.uses_of[b]:
            total += use.accessed_bytes * (write_j if use.write else read_j)
        if confined or not home.addressable:
            load_j = way_j(target, buffer.kind, outgoing=True)
            store_j = way_j(target, buffer.kind, outgoing=False)
        else:
            load_j = home.read_energy_j_per_byte - read_j
            store_j = home.write_energy_j_per_byte - write_j
        total += loads[b] * load_j + stores[b] * store_j
    return total


def _ways(target: Target, kind: Kind, *, outgoing: bool) -> list[tuple[list[Link], Tier]]:
    """All ways without a circle from a home to a tier of operators, or back, with that tier."""
    home, fast = target.tier(target.homes[kind]), target.tiers[0]
    ends = [fast]
    if not target.must_be_fastest(kind):
        ends += [tier for tier in target.tiers[1:] if tier.addressable]
    found = []
    begun: list[tuple[list[Link], list[str]]] = [([], [home.name])]
    while begun:
        links, tiers = begun.pop()
        end = target.tier(tiers[-1])
        if end in ends and (outgoing or not end.read_only):
            found.append((links, end))
        for link in target.links:
            here, there = link.source, link.destination
            if not outgoing:
                here, there = there, here
            is_read_only = target.tier(link.destination).read_only
            if here == tiers[-1] and there not in tiers and not is_read_only:
                begun.append(([*links, link], [*tiers, there]))
    return found


def _crossing(
    problem: Problem, of_link: Callable[[Link], float], of_access: Callable[[Tier, bool], float]
) -> float:
    """Least of a figure that first loads and last stores add up to, all ways tried."""
    whole = compulsory_bytes(problem, resident=True)
    share = compulsory_bytes(problem, resident=False)
    total = 0.0
    for number, outgoing in enumerate((True, False)):
        for b, buffer in enumerate(problem.buffers):
            if whole[number][b]:
                total += min(
                    (
                        whole[number][b] * sum(of_link(link) for link in links)
                        + share[number][b] * of_access(end, not outgoing)
                        for links, end in _ways(problem.target, buffer.kind, outgoing=outgoing)
                    ),
                    default=0.0,
                )
    return total


def crossing_seconds(problem: Problem) -> dict[str, float]:
    """Least seconds of each port but the fastest tier's, and of each link."""
    target = problem.target
    seconds = {}
    for tier in target.tiers[1:]:

        def of_link(link: Link, tier: Tier = tier) -> float:
            busy = 0.0
            if link.source == tier.name:
                busy += 1 / tier.read_bytes_per_s
            if link.destination == tier.name:
                busy += 1 / tier.write_bytes_per_s
            return busy

        def of_access(end: Tier, write: bool, tier: Tier = tier) -> float:
            rate = tier.write_bytes_per_s if write else tier.read_bytes_per_s
            return 1 / rate if end is tier else 0.0

        seconds[tier.name] = _crossing(problem, of_link, of_access)
    for one in target.links:

        def moving(link: Link, one: Link = one) -> float:
            return 1 / one.bandwidth_bytes_per_s if link is one else 0.0

        seconds[one.name] = _crossing(problem, moving, lambda _end, _write: 0.0)
    return seconds


def crossing_bytes(problem: Problem) -> float:
    """Least bytes of all hops, and of accesses in slow tiers."""
    fast = problem.target.tiers[0]
    return _crossing(problem, lambda _link: 1.0, lambda end, _write: float(end is not fast))


def way_j(target: Target, kind: Kind, *, outgoing: bool) -> float:
    """Least joules of a byte on its way."""
    return min(
        (
            sum(
                target.tier(link.source).read_energy_j_per_byte
                + link.energy_j_per_byte
                + target.tier(link.destination).write_energy_j_per_byte
                for link in links
            )
            for links, _ in _ways(target, kind, outgoing=outgoing)
        ),
        default=0.0,
    )
