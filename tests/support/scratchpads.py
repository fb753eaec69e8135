"""Chips whose operators reach the fastest tier only, and random programs for them."""

from itertools import pairwise
from random import Random

from tests.support.graphs import random_graph, random_order
from tests.support.overlaps import random_overlap
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.lowering.lower import build_program
from ullage.hwmodels.catalog.registry import load_target

KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def scratchpad_target(rng: Random, hops: int, *, room: int, granularity: int = 8) -> Target:
    """A chain of tiers: operators reach the first, everything lives in the last.

    Args:
        rng: chooses rates and set-ups.
        hops: number of links between them.
        room: bytes of the first tier; those between have twice as much, the last has plenty.
        granularity: of slices; 0 keeps operands whole.
    """
    sizes = [room] + [2 * room] * (hops - 1) + [1 << 20]
    rates = [64e9] + [4e9] * (hops - 1) + [rng.choice((1e9, 2e9))]
    tiers = tuple(
        Tier(f"t{i}", size, rate, rate, 8, 1e-12, 1e-12, addressable=i == 0)
        for i, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    )
    setup_s = rng.choice((0.0, 1e-8))
    near = list(pairwise(tier.name for tier in tiers))
    links = [Link(a, b, rng.choice((1e9, 4e9)), setup_s, 0.0) for a, b in near]
    links += [Link(b, a, rng.choice((1e9, 4e9)), setup_s, 0.0) for a, b in near]
    return Target(
        f"chain-{hops}",
        tiers,
        tuple(links),
        Compute(
            {"int8": rng.choice((1e10, 1e11))},
            1e10,
            0.0,
            {"int8": 1e-13},
            overlap=random_overlap(rng),
        ),
        dict.fromkeys(KINDS, tiers[-1].name),
        split_operands=granularity > 0,
        slice_granularity_bytes=granularity or 8,
    )


def scratchpad_problem(
    rng: Random, target: Target, operators: int, *, steady_state: bool = False
) -> Problem:
    """A random program on such a target."""
    graph = random_graph(rng, operators)
    program = build_program(
        graph,
        random_order(graph, rng),
        aliases=alias_options(target),
        dma_steps=target.dma_steps,
        steady_state=steady_state,
    )
    return Problem(program, target)


def four_operators() -> Problem:
    """Four operators of 50 us with a weight of 25 us each, for which there is plenty of room.

    The first weight has nothing to hide behind, so 225 us and the input and output are the best.
    """
    tensors = [Tensor("x0", 1000, "input")]
    operators = []
    for i in range(4):
        tensors.append(Tensor(f"w{i}", 100_000, "weight"))
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if i == 3 else "activation"))
        operators.append(Op(f"op{i}", [f"x{i}", f"w{i}"], [f"x{i + 1}"], macs=25_000_000))
    return problem_from_lists("four", tensors, operators, load_target("edge-npu-spm"))


BEST_OF_FOUR_S = 225.5e-6
