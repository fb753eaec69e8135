"""Targets with three tiers, and random legal plans in which data goes any way through them."""

from itertools import pairwise
from random import Random

from tests.support.graphs import random_graph, random_order
from tests.support.overlaps import random_overlap
from tests.support.targets import _placed
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program

KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def three_tier_target(rng: Random, *, room: int = 1 << 20) -> Target:
    """SRAM, DRAM and a third tier: weights' home, out of reach or not, with or without a way past.

    Args:
        rng: chooses.
        room: bytes of SRAM and of DRAM.
    """
    read_only, near = rng.random() < 0.5, rng.random() < 0.3
    tiers = (
        Tier("sram", room, rng.choice((4e9, 64e9)), rng.choice((2e9, 32e9)), 8, 1e-12, 2e-12),
        Tier("dram", room, rng.choice((1e9, 4e9)), rng.choice((1e9, 2e9)), 8, 2e-10, 2e-10),
        Tier("far", 1 << 20, 5e8, 4e8, 8, 3e-10, 4e-10, addressable=near, read_only=read_only),
    )
    setup_s = rng.choice((0.0, 1e-8))
    pairs = [("far", "dram"), ("dram", "sram"), ("sram", "dram")]
    pairs += [] if read_only else [("dram", "far")]
    pairs += [("far", "sram")] if rng.random() < 0.4 else []
    links = tuple(Link(a, b, rng.choice((3e8, 1e9, 4e9)), setup_s, 1e-12) for a, b in pairs)
    homes = dict.fromkeys(KINDS, "dram")
    homes["weight"] = "far"
    return Target(
        "three",
        tiers,
        links,
        Compute(
            {"int8": rng.choice((1e10, 1e12))},
            1e10,
            0.0,
            {"int8": 1e-13},
            overlap=random_overlap(rng),
        ),
        homes,
        slice_granularity_bytes=8,
    )


def three_tier_problem(rng: Random, target: Target, operators: int) -> Problem:
    """A random program on such a target."""
    graph = random_graph(rng, operators)
    order = random_order(graph, rng)
    program = build_program(
        graph,
        order,
        aliases=alias_options(target),
        dma_steps=target.dma_steps,
        steady_state=rng.random() < 0.3,
    )
    return Problem(program, target)


def random_walks(problem: Problem, rng: Random) -> Plan:
    """A plan whose slices move between tiers at random; nearly always legal, to be verified."""
    residencies: list[Residency] = []
    transfers: list[Transfer] = []
    for b, buffer in enumerate(problem.buffers):
        edges = {0, buffer.size_bytes}
        for _, use in problem.uses_of[b]:
            edges |= {use.start_byte, use.end_byte}
        edges |= {e for span in buffer.outputs for e in span}
        inner = range(8, buffer.size_bytes, 8)
        edges |= set(rng.sample(inner, min(len(inner), rng.randint(0, 2))))
        cuts = sorted(edges)
        for span in pairwise(cuts):
            found, moved = _walk(problem, b, span, rng)
            residencies += found
            transfers += moved
    residencies.sort(key=lambda r: (r.buffer, r.start_byte, r.start))
    transfers.sort(key=lambda t: t.moves[0][0])
    aligned = [_grown(r) for r in residencies]
    placed = [
        Residency(r.buffer, r.start_byte, r.end_byte, r.tier, p.offset, r.start, r.ready, r.end)
        for r, p in zip(residencies, _placed(aligned), strict=True)
    ]
    return Plan(problem, tuple(placed), tuple(transfers), solver="random")


def _grown(item: Residency) -> Residency:
    """A residency as long as its aligned place."""
    size = -(-(item.end_byte - item.start_byte) // 8) * 8
    low = item.start_byte
    return Residency(item.buffer, low, low + size, item.tier, 0, item.start, item.ready, item.end)


def _walk(
    problem: Problem, b: int, span: tuple[int, int], rng: Random
) -> tuple[list[Residency], list[Transfer]]:
    target = problem.target
    buffer, last = problem.buffers[b], len(problem.steps)
    home = target.homes[buffer.kind]
    reach = {t.name for t in target.tiers if t.addressable}
    accesses: dict[int, tuple[bool, bool]] = {}
    for t, use in problem.uses_of[b]:
        if use.start_byte < span[1] and use.end_byte > span[0]:
            reads, writes = accesses.get(t, (False, False))
            accesses[t] = (reads or not use.write, writes or use.write)
    is_output = any(a < span[1] and span[0] < z for a, z in buffer.outputs)
    keeps_home = buffer.kind == "weight"
    live: dict[str, tuple[int, int]] = {}  # tier -> start, ready
    residencies: list[Residency] = []
    transfers: list[Transfer] = []
    names = [t.name for t in target.tiers]

    def close(tier: str, end: int) -> None:
        start, ready = live.pop(tier)
        residencies.append(Residency(b, *span, tier, 0, start, ready, end))

    if buffer.kind in ("input", "weight"):
        live[home] = (0, 0)
    elif not accesses:
        return [], []
    for t in range(last):
        reads, writes = accesses.get(t, (False, False))
        if writes and not live:
            live[rng.choice(sorted(reach - ({"far"} if target.tiers[2].read_only else set())))] = (
                t,
                t,
            )
            continue
        if writes:
            first = min((n for n in live), key=names.index)
            for tier in [n for n in live if n != first]:
                close(tier, t + 1)
            continue
        ready = [n for n in live if live[n][1] <= t]
        following = min((s for s in accesses if s > t), default=last)
        short = following - t <= 2 and following < last and not reach & set(live)
        stores = is_output and following == last and t >= last - 2 and home not in live
        ways = [
            (link.source, link.destination)
            for link in target.links
            if link.source in ready and link.destination not in live
        ]
        if short:
            ways = [w for w in ways if w[1] != "far"]
        if stores:
            ways = [w for w in ways if w[1] == home or (home == "dram" and w[1] != "far")]
        done = following == last and not is_output and t not in accesses
        if done:
            ways = []
        if ways and live and (short or stores or rng.random() < 0.3):
            source, to = rng.choice(ways)
            transfers.append(Transfer(b, *span, source, to, ((t, span[1] - span[0]),)))
            live[to] = (t, t + 1)
        elif len(ready) > 1 and not reads and not done and rng.random() < 0.4:
            gone = rng.choice([n for n in ready if not (keeps_home and n == home)])
            if live[gone][1] < t and not (is_output and gone == home):
                close(gone, t)
        if done:
            for tier in [n for n in live if not (keeps_home and n == home)]:
                if live[tier][1] <= t and live[tier][0] < t:
                    close(tier, t)
    for tier in list(live):
        close(tier, last)
    return residencies, transfers
