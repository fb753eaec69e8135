"""Plans that solvers made of real models, broken: the verifier names the rule."""

from random import Random

import pytest

from tests.support.mutations import MUTATIONS
from tests.support.solving import Asked, solve_with
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.verify.verifier import find_violations


@pytest.mark.wide(5)
@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid"])
@pytest.mark.parametrize(
    ("model", "target"),
    [("squeezenet", "edge-npu"), ("shufflenet", "ethos-u55-128"), ("inception_v1", "cosma")],
)
def test_mutations_of_real_plans_are_caught(model: str, target: str, solver: str) -> None:
    options = CompileOptions(target=target, dtype="int8", fast_memory_bytes=3 << 20)
    prepared = prepare(find_model(model), options)
    plan = solve_with(solver, prepared.problem, Asked())
    assert find_violations(plan) == []
    applied = 0
    for name, mutation in MUTATIONS.items():
        broken = mutation.apply(plan, Random(name))
        if broken is None:
            continue
        applied += 1
        rules = {violation.rule for violation in find_violations(broken, limit=10_000)}
        assert rules & mutation.rules, (name, rules)
    assert applied > 35
