"""Chains of one, two and three links against the best plan: nobody is better, no bound above."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from tests.support.brute_chain import ChainOracle
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import score

SOLVERS = ("fluid", "greedy", "msa", "all-slow")
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def tiny_chain(rng: Random, hops: int, *, split: bool = False) -> Target:
    """A chain in which one byte takes seconds; operands stay whole, or are cut anywhere."""
    sizes = [rng.randint(3, 6), *[rng.randint(3, 8) for _ in range(hops - 1)], 1000]
    rates = [7.0, *sorted((rng.choice((2.0, 4.0)) for _ in range(hops)), reverse=True)]
    tiers = tuple(
        Tier(f"t{i}", size, rate, rate, 1, 1.0, 1.0, addressable=i == 0)
        for i, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    )
    setup_s = rng.choice((0.0, 0.5))
    near = list(pairwise(tier.name for tier in tiers))
    links = [Link(b, a, rng.choice((0.8, 1.0, 2.0)), setup_s, 0.0) for a, b in near]
    links += [Link(a, b, rng.choice((0.8, 1.0, 2.0)), setup_s, 0.0) for a, b in near]
    return Target(
        "tiny-chain",
        tiers,
        tuple(links),
        Compute({"int8": 10.0}, 10.0, 0.0, {"int8": 0.5}),
        dict.fromkeys(KINDS, tiers[-1].name),
        operand_access=rng.choice(("any", "fastest")),
        weights_in_fastest=rng.random() < 0.5,
        split_operands=split,
        slice_granularity_bytes=1 if split else 64,
    )


def tiny_chain_problem(
    rng: Random,
    target: Target,
    operators: int,
    *,
    most_bytes: int = 2,
    steady_state: bool = False,
) -> Problem:
    """A chain of operators, each with a weight, perhaps; results of a byte or two."""
    tensors, ops = [Tensor("x0", 1, "input")], []
    for i in range(operators):
        reads = [f"x{i}"]
        if rng.random() < 0.7:
            tensors.append(Tensor(f"w{i}", rng.randint(1, most_bytes), "weight"))
            reads.append(f"w{i}")
        kind = "output" if i == operators - 1 else "activation"
        tensors.append(Tensor(f"x{i + 1}", 1, kind))
        ops.append(Op(f"op{i}", reads, [f"x{i + 1}"], macs=rng.choice((0, 5, 30))))
    problem = problem_from_lists("tiny-chain", tensors, ops, target)
    return replace(problem, program=replace(problem.program, steady_state=steady_state))


@pytest.mark.wide(2)
@pytest.mark.parametrize(
    ("hops", "operators", "seeds"), [(1, 2, 12), (2, 1, 8), (2, 2, 2), (3, 1, 3)]
)
def test_no_plan_beats_the_best_and_no_bound_is_above_it(
    hops: int, operators: int, seeds: int
) -> None:
    """Whole operands that must be in the fastest tier, over one link, two and three."""
    compared = reached = 0
    for seed in range(seeds):
        rng = Random(seed)
        target = tiny_chain(rng, hops)
        problem = tiny_chain_problem(rng, target, operators, most_bytes=1 if hops > 2 else 2)
        best = ChainOracle(problem).best()
        if best is None:
            for solver in SOLVERS:
                with pytest.raises(InfeasibleError):
                    solve_with(solver, problem, Asked())
            continue
        assert order_free_bound(problem).value <= best * (1 + 1e-9)
        values = []
        for solver in SOLVERS:
            try:
                plan = solve_with(solver, problem, Asked())
            except InfeasibleError:  # of a heuristic that finds none
                assert solver != "fluid"
                continue
            assert not find_violations(plan)
            values.append(score(plan).latency_s)
            if plan.lower_bound is not None:
                assert plan.lower_bound <= best * (1 + 1e-9)
        assert min(values) >= best * (1 - 1e-9)
        reached += min(values) <= best * (1 + 1e-9)
        compared += 1
    assert compared > seeds // 2
    assert reached > compared // 2
