"""The problem in which the memory behind the weights' home has room for all of them."""

from dataclasses import replace

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier


def reduce(problem: Problem) -> Problem | None:
    """The problem in which the middle tier has room for all weights; None where there is none."""
    way = way_of(problem)
    if way is None or problem.objective != "latency" or problem.blend is not None:
        return None
    link, middle = way
    target, home = problem.target, problem.target.home("weight")
    weights = sum(b.size_bytes for b in problem.buffers if b.constant)
    room = replace(middle, capacity_bytes=middle.capacity_bytes + 2 * weights)
    tiers = tuple(room if t is middle else t for t in target.tiers if t is not home)
    links = tuple(each for each in target.links if home.name not in (each.source, each.destination))
    homes = {**target.homes, "weight": link.destination}
    return problem.on(replace(target, tiers=tiers, links=links, homes=homes))


def way_of(problem: Problem) -> tuple[Link, Tier] | None:
    """The only link from the weights' home, and the middle tier that it leads to."""
    target = problem.target
    home = target.home("weight")
    links = [link for link in target.links if link.source == home.name]
    others = [name for kind, name in target.homes.items() if kind != "weight"]
    if not problem.steady_state or home.addressable or len(links) != 1:
        return None
    middle = target.tier(links[0].destination)
    if home.name in others or middle.read_only or middle is target.fastest:
        return None
    if not target.split_operands or home is target.fastest or problem.no_spill:
        return None
    return links[0], middle
