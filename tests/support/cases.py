"""Random and hand-made problems for every solver, and what must be true of any answer."""

from dataclasses import replace
from random import Random
from typing import Any

from tests.support.graphs import Builder, random_graph, random_order
from tests.support.overlaps import random_overlap
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, OperandAccess, Target, Tier
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.replay.replay import simulate

BUILT_IN = ("all-slow", "greedy", "msa", "fluid", "no-spill", "auto")


OBJECTIVES = ("latency", "traffic", "energy", "peak")


REFUSAL = {
    "tier",
    "needed_bytes",
    "available_bytes",
    "excess_bytes",
    "step",
    "largest_tensors",
    "remedies",
}


KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def random_target(rng: Random) -> Target:
    """A chip whose memories are of the size of a few tensors of `random_graph`.

    Two tiers; a third with read-only flash or a host that operators cannot reach; or a
    microcontroller with SRAM as everybody's home and weights in flash.
    """
    shape = rng.choice(("dram", "dram", "flash", "mcu", "host"))
    alignment = rng.choice((1, 4, 8, 16))
    units = (16, 32, 64, 256) if shape == "mcu" else (0, 1, 4, 8, 16, 32, 64, 256)
    room = rng.choice((1 << 20, 1 << 20, 1 << 20, 608))
    near = rng.random() < 0.7
    speed, write = rng.choice((1e9, 4e9)), rng.choice((1e9, 2e9))
    sram = Tier("sram", alignment * rng.choice(units), 16e9, 8e9, alignment, 1e-12, 2e-12)
    dram = Tier("dram", room, speed, write, alignment, 2e-10, 2e-10)
    flash = Tier("flash", 1 << 20, 0.5e9, 0.0, alignment, 3e-10, addressable=near, read_only=True)
    host = Tier("host", 1 << 20, 0.5e9, 0.5e9, alignment, 4e-10, 4e-10, addressable=False)
    tiers = {
        "dram": (sram, dram),
        "flash": (sram, dram, flash),
        "mcu": (sram, flash),
        "host": (sram, dram, host),
    }[shape]
    setup_s, link_speed = rng.choice((0.0, 1e-8)), rng.choice((1e9, 4e9, 64e9))
    links = [Link(tier.name, "sram", link_speed, setup_s, 1e-12) for tier in tiers[1:]]
    links += [
        Link("sram", tier.name, link_speed, setup_s, 1e-12)
        for tier in tiers[1:]
        if not tier.read_only
    ]
    homes = dict.fromkeys(KINDS, "sram" if shape == "mcu" else "dram")
    homes["weight"] = tiers[-1].name
    homes["input"] = "host" if shape == "host" else homes["input"]
    macs_per_s, overhead_s = rng.choice((1e10, 1e12)), rng.choice((0.0, 1e-9))
    access: OperandAccess = "fastest" if rng.random() < 0.3 else "any"
    return Target(
        f"random-{shape}",
        tiers,
        tuple(links),
        Compute(
            {"int8": macs_per_s},
            rng.choice((1e9, 1e11)),
            overhead_s,
            {"int8": 1e-13},
            overlap=random_overlap(rng),
        ),
        homes,
        operand_access=access,
        weights_in_fastest=rng.random() < 0.5,
        split_operands=rng.random() < 0.7,
        slice_granularity_bytes=rng.choice((0, 16, 256)),
    )


def random_case(seed: int, operators: int = 9) -> Problem:
    rng = Random(seed)
    target = random_target(rng)
    graph = random_graph(rng, operators)
    order = random_order(graph, rng)
    aliases = alias_options(target)
    program = build_program(graph, order, aliases=aliases, dma_steps=target.dma_steps)
    return Problem(program, target)


def check_refusal(error: InfeasibleError) -> None:
    details = error.details
    assert details.keys() >= REFUSAL
    if "enough_bytes" in details:  # a size that was tried, where no operator is too large by itself
        assert not details["proven"]
        assert details["excess_bytes"] == 0
        assert details["needed_bytes"] <= details["available_bytes"] < details["enough_bytes"]
    else:
        assert details["excess_bytes"] == details["needed_bytes"] - details["available_bytes"]
        assert details["excess_bytes"] > 0
    assert details["largest_tensors"]
    assert all(set(item) == {"tensor", "bytes"} for item in details["largest_tensors"])
    assert details["remedies"]
    assert isinstance(details["step"], int)


def solved(name: str, problem: Problem, objective: str) -> Plan | None:
    """A checked plan; None where the solver refuses, with all that a refusal must say."""
    try:
        plan = solve_with(name, problem, Asked(objective=objective))
    except InfeasibleError as error:
        check_refusal(error)
        return None
    assert find_violations(plan) == []
    assert simulate(plan).latency_s >= 0
    assert plan.objective == objective
    value = objective_value(score(plan), objective)
    bound = lower_bound(problem.on(plan.target).minimising(objective)).value
    assert bound <= value * (1 + 1e-9)
    return plan


def chain() -> Builder:
    build = Builder("chain")
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["a"], [("y", 64)])
    return build


def target_of(sram_bytes: int, **changes: Any) -> Target:
    target = Target(
        "hand",
        (Tier("sram", sram_bytes, 16e9, 16e9, 16), Tier("dram", 4096, 1e9, 1e9, 16)),
        (Link("dram", "sram", 1e9), Link("sram", "dram", 1e9)),
        Compute({"int8": 1e12}, 1e12),
        dict.fromkeys(KINDS, "dram"),
        slice_granularity_bytes=16,
    )
    return replace(target, **changes)


def problem_for(build: Builder, outputs: list[str], target: Target) -> Problem:
    graph = build.graph(outputs)
    order = tuple(range(len(graph.operators)))
    aliases = alias_options(target)
    program = build_program(graph, order, aliases=aliases, dma_steps=target.dma_steps)
    return Problem(program, target)
