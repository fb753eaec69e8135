"""The modules that `make mutate` breaks on purpose, and the tests that must notice."""

VERIFIER = ("tests/compiler/verify/test_verifier.py",)

# Module -> tests, those that notice soonest first.
TESTS_OF: dict[str, tuple[str, ...]] = {
    "hwmodels/cost.py": ("tests/hwmodels/test_cost.py",),
    "hwmodels/traffic.py": ("tests/hwmodels/test_cost.py", "tests/hwmodels/test_traffic.py"),
    "hwmodels/bounds.py": ("tests/hwmodels/test_bounds.py",),
    "hwmodels/resources.py": ("tests/hwmodels/test_resources.py", "tests/hwmodels/test_cost.py"),
    "compiler/verify/data.py": VERIFIER,
    "compiler/verify/events.py": VERIFIER,
    "compiler/verify/loop.py": VERIFIER,
    "compiler/verify/space.py": VERIFIER,
    "compiler/verify/verifier.py": VERIFIER,
    "compiler/verify/versions.py": VERIFIER,
    "compiler/verify/well_formed.py": VERIFIER,
    "compiler/lowering/live_ranges.py": ("tests/compiler/lowering/test_live_ranges.py",),
    "compiler/lowering/lower.py": ("tests/compiler/lowering/test_lower.py",),
    "compiler/lowering/aliases.py": (
        "tests/compiler/lowering/test_aliases.py",
        "tests/compiler/lowering/test_lower.py",
    ),
    "compiler/lowering/alias_proof.py": ("tests/compiler/lowering/test_aliases.py",),
}
