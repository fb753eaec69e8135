"""Problems of a few bytes and a few operators, for solvers that can be checked by trying all."""

from random import Random

from tests.support.overlaps import random_overlap
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def tiny_target(rng: Random, *, fastest: bool) -> Target:
    """Two tiers; one byte takes seconds; nothing can be cut."""
    capacity = rng.randint(4, 9) if fastest else rng.randint(1, 8)
    sram = Tier("sram", capacity, rng.choice((4.0, 7.0)), rng.choice((2.0, 4.0)), 1, 1.0, 2.0)
    dram = Tier("dram", 1000, rng.choice((1.0, 3.0)), rng.choice((0.5, 1.0)), 1, 7.0, 9.0)
    setup_s = rng.choice((0.0, 0.0, 0.75))
    up = Link("dram", "sram", rng.choice((0.8, 1.0, 2.0)), setup_s, 0.5)
    down = Link("sram", "dram", rng.choice((0.8, 1.0)), setup_s, 0.25)
    return Target(
        "tiny",
        (sram, dram),
        (up, down),
        Compute(
            {"int8": 10.0},
            10.0,
            rng.choice((0.0, 0.3)),
            {"int8": 0.5},
            overlap=random_overlap(rng),
        ),
        dict.fromkeys(KINDS, "dram"),
        operand_access="fastest" if fastest else "any",
        weights_in_fastest=rng.random() < 0.5,
        split_operands=False,
        slice_granularity_bytes=64,
    )


def tiny_problem(rng: Random, target: Target, operators: int, most_bytes: int = 2) -> Problem:
    """A random program of a few operators: weights, several readers, in-place results, outputs."""
    tensors = [Tensor("x", rng.randint(1, most_bytes), "input")]
    sizes = {"x": tensors[0].size_bytes}
    alive = ["x"]
    ops: list[Op] = []
    weights: list[str] = []
    for i in range(operators):
        reads = rng.sample(alive, min(len(alive), rng.choice((1, 1, 2))))
        if weights and rng.random() < 0.2:
            reads.append(rng.choice(weights))
        elif rng.random() < 0.4:
            name = f"w{i}"
            sizes[name] = rng.randint(1, most_bytes)
            tensors.append(Tensor(name, sizes[name], "weight"))
            weights.append(name)
            reads.append(name)
        result = f"a{i}"
        source = reads[0]
        replaces = source != "x" and rng.random() < 0.3
        sizes[result] = sizes[source] if replaces else rng.randint(1, most_bytes)
        last = i == operators - 1
        kind: TensorKind = "output" if last or rng.random() < 0.15 else "activation"
        tensors.append(Tensor(result, sizes[result], kind))
        ops.append(
            Op(
                f"op{i}",
                reads,
                [result],
                macs=rng.choice((0, 5, 30)),
                vector_elements=rng.choice((0, 7)),
                workspace_bytes=rng.choice((0, 0, 0, 1)),
                in_place={result: source} if replaces else None,
            )
        )
        alive.append(result)
    return problem_from_lists("tiny", tensors, ops, target)
