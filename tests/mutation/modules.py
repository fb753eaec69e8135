"""The modules that `make mutate` breaks on purpose, and the tests that must notice."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
_VERIFIER = "tests/compiler/verify/test_verifier.py"


def _of_verifier(*names: str) -> tuple[str, ...]:
    return tuple(f"{_VERIFIER}::{name}" for name in names)


_EACH_RULE = _of_verifier("test_legal_plans_pass", "test_mutations_are_caught_on_every_plan")
_AGAINST_TWIN = _of_verifier(
    "test_the_order_in_which_a_plan_lists_its_parts_does_not_matter",
    "test_twin_agrees_on_random_walks_and_whatever_comes_of_them",
    "test_twin_agrees_on_perturbed_plans",
    "test_twin_agrees_on_random_plans",
)

# Module -> tests, those that notice soonest first: whole files, or those of a long one that count.
TESTS_OF: dict[str, tuple[str, ...]] = {
    "hwmodels/cost.py": ("tests/hwmodels/test_cost.py",),
    "hwmodels/compute/listed.py": ("tests/hwmodels/test_cost.py",),
    "hwmodels/compute/model.py": (
        "tests/hwmodels/compute/test_model.py",
        "tests/hwmodels/test_cost.py",
    ),
    "hwmodels/compute/systolic.py": ("tests/hwmodels/compute/test_systolic.py",),
    "hwmodels/compute/mac_blocks.py": ("tests/hwmodels/compute/test_mac_blocks.py",),
    "hwmodels/compute/kernel_cycles.py": ("tests/hwmodels/compute/test_model.py",),
    "hwmodels/compute/op_costs.py": ("tests/hwmodels/compute/test_op_costs.py",),
    "hwmodels/compute/peak.py": ("tests/hwmodels/compute/test_model.py",),
    "hwmodels/traffic.py": ("tests/hwmodels/test_cost.py", "tests/hwmodels/test_traffic.py"),
    "hwmodels/bounds.py": (
        "tests/hwmodels/test_bounds.py",
        *_of_verifier("test_a_bound_above_the_plans_own_value_is_a_violation"),
    ),
    "hwmodels/crossings.py": ("tests/hwmodels/test_crossings.py", "tests/hwmodels/test_bounds.py"),
    "hwmodels/resources.py": ("tests/hwmodels/test_resources.py", "tests/hwmodels/test_cost.py"),
    "compiler/verify/data.py": (
        *_EACH_RULE,
        "tests/compiler/verify/test_data.py",
        *_of_verifier("test_rewriting_moved_bytes_before_arrival_is_caught"),
        *_AGAINST_TWIN,
    ),
    "compiler/verify/events.py": (
        *_EACH_RULE,
        "tests/compiler/verify/test_data.py",
        *_AGAINST_TWIN,
    ),
    "compiler/verify/loop.py": (
        *_EACH_RULE,
        *_of_verifier(
            "test_only_steady_state_carries_weights",
            "test_plans_that_carry_nothing_are_legal_in_steady_state",
            "test_carried_bytes_may_be_left_by_several_residencies",
            "test_nothing_is_carried_into_read_only_memory",
            "test_activations_do_not_survive_an_inference",
        ),
        "tests/compiler/verify/test_loop.py",
    ),
    "compiler/verify/space.py": (
        *_EACH_RULE,
        "tests/compiler/verify/test_space.py",
        *_AGAINST_TWIN,
    ),
    "compiler/verify/verifier.py": (
        *_EACH_RULE,
        *_of_verifier(
            "test_error_lists_the_first_and_carries_all",
            "test_error_spells_out_five_of_a_hundred",
            "test_limit_bounds_the_list",
            "test_a_file_that_cannot_be_read_breaks_the_rule_malformed",
            "test_a_garbled_plan_is_told_from_an_illegal_one",
            "test_a_bound_above_the_plans_own_value_is_a_violation",
        ),
    ),
    "compiler/verify/versions.py": ("tests/compiler/verify/test_versions.py",),
    "compiler/verify/part_form.py": ("tests/compiler/verify/test_part_form.py",),
    "compiler/verify/well_formed.py": (
        "tests/compiler/verify/test_well_formed.py",
        "tests/compiler/verify/test_part_form.py",
        *_of_verifier("test_garbage_in_any_field_never_crashes"),
    ),
    "compiler/verify/problem_rules.py": (
        "tests/compiler/verify/test_problem_rules.py",
        "tests/compiler/verify/test_well_formed.py",
        "tests/compiler/exchange/test_problem_mutants.py",
    ),
    "compiler/verify/target_form.py": (
        "tests/compiler/verify/test_well_formed.py",
        "tests/compiler/verify/test_fields.py",
    ),
    "compiler/verify/fields.py": (
        "tests/compiler/verify/test_fields.py",
        "tests/compiler/verify/test_well_formed.py",
    ),
    "compiler/lowering/live_ranges.py": ("tests/compiler/lowering/test_live_ranges.py",),
    "compiler/lowering/lower.py": ("tests/compiler/lowering/test_lower.py",),
    "compiler/lowering/aliases.py": ("tests/compiler/lowering/test_aliases.py",),
    "compiler/lowering/alias_proof.py": ("tests/compiler/lowering/test_aliases.py",),
}
for _file in sorted((ROOT / "compiler" / "verify").glob("[!_]*.py")):
    TESTS_OF.setdefault(f"compiler/verify/{_file.name}", (_VERIFIER,))
