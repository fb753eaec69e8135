"""Programs of many operators that share two weights."""

from random import Random

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists


def chip(capacity_bytes: int) -> Target:
    """Fast memory of some hundred bytes before a slow one."""
    sram = Tier("sram", capacity_bytes, 16e9, 8e9, 8, 1e-12, 2e-12)
    dram = Tier("dram", 1 << 20, 1e9, 1e9, 8, 2e-10, 2e-10)
    links = (Link("dram", "sram", 1e9, 0.0, 0.0), Link("sram", "dram", 1e9, 0.0, 0.0))
    homes = {"input": "dram", "weight": "dram", "activation": "dram", "output": "dram"}
    compute = Compute({"int8": 1e9}, 1e9, 0.0, {})
    return Target("chip", (sram, dram), links, compute, homes)


def recurrent(target: Target, steps: int, seed: int = 0) -> Problem:
    """Operators that share two weights and keep some results for later."""
    rng = Random(seed)
    tensors = [Tensor("x", 64, "input"), Tensor("w", 128, "weight"), Tensor("v", 96, "weight")]
    operators: list[Op] = []
    alive = ["x"]
    for i in range(steps):
        kind = "output" if i == steps - 1 else "activation"
        tensors.append(Tensor(f"a{i}", rng.choice((32, 64, 96)), kind))
        reads = [alive[-1], rng.choice(alive), "w" if rng.random() < 0.7 else "v"]
        macs = rng.choice((0, 100, 400))
        operators.append(Op(f"op{i}", tuple(dict.fromkeys(reads)), (f"a{i}",), macs=macs))
        alive = [*alive, f"a{i}"][-6:]
    return problem_from_lists("recurrent", tensors, operators, target)
