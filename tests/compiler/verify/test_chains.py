"""Plans over two and three links: verifier and byte-by-byte twin agree, execution is exact."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.solvers.paths.test_brute_chain import tiny_chain, tiny_chain_problem
from tests.support.models import model_file
from tests.support.mutations import MUTATIONS
from tests.support.solving import Asked, solve_with
from tests.support.verify_twin import fault_of
from ullage.cli.main import run
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target

TARGETS = Path(__file__).parents[3] / "benchmarks" / "targets"


def chain_plans(hops: int, *, split: bool, steady_state: bool) -> list[Plan]:
    """Plans of three solvers for random tiny programs."""
    found = []
    for seed in range(6):
        rng = Random(seed)
        target = tiny_chain(rng, hops, split=split)
        problem = tiny_chain_problem(rng, target, 2, steady_state=steady_state)
        for solver in ("fluid", "greedy", "msa"):
            try:
                found.append(solve_with(solver, problem, Asked()))
            except InfeasibleError:
                continue
    return found


@pytest.mark.wide(4)
@pytest.mark.parametrize("steady_state", [False, True])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("hops", [2, 3])
def test_verifier_and_twin_agree_on_plans_over_chains(
    hops: int, *, split: bool, steady_state: bool
) -> None:
    plans = chain_plans(hops, split=split, steady_state=steady_state)
    assert len(plans) > 5
    links = {(t.source, t.destination) for plan in plans for t in plan.transfers}
    ends = [f"t{i}" for i in range(hops + 1)]
    assert {(b, a) for a, b in pairwise(ends)} <= links
    changed = caught = 0
    for number, plan in enumerate(plans):
        assert find_violations(plan) == []
        assert fault_of(plan) == ""
        for name, mutation in MUTATIONS.items():
            broken = mutation.apply(plan, Random(number))
            if broken is None or "malformed" in mutation.rules:
                continue
            violations = find_violations(broken)
            assert bool(violations) == bool(fault_of(broken)), (name, number)
            changed += 1
            caught += bool(violations)
    assert caught > 0.8 * changed
    assert changed > 30


@pytest.mark.parametrize(("target", "hops"), [("npu-l2", 2), ("gpu-nvme", 3)])
@pytest.mark.parametrize("more", [(), ("--steady-state",)])
def test_execution_over_chains_is_exact(
    target: str, hops: int, more: tuple[str, ...], tmp_path: Path
) -> None:
    model, chip = str(model_file("residual")), str(TARGETS / f"{target}.yaml")
    for solver in ("fluid", "greedy"):
        out = tmp_path / solver
        asked = ["compile", model, "--target", chip, "--solver", solver, *more, "-o", str(out)]
        assert run([*asked, "--quiet"]) == 0
        assert run(["run", model, str(out / "plan.json")]) == 0
        moved = {(t.source, t.destination) for t in read_plan(out / "plan.json").transfers}
        tiers = load_target(chip).tiers
        crossed = {(b.name, a.name) for a, b in pairwise(tiers) if not (more and b.read_only)}
        assert crossed <= moved  # in steady state weights may stay for ever
        assert len(tiers) == hops + 1
