"""After a warm-up nothing is left to compile, whatever the solvers are given."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.cases import random_case
from tests.support.scratchpads import four_operators
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.kernel_store import activity
from ullage.compiler.driver import warm_up as warming
from ullage.compiler.driver.warm_up import FAMILIES, KernelFamily, kept_in, warm_up
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.packing.pack import pack
from ullage.solvers.paths import setting as paths
from ullage.solvers.state import kernels


def test_a_second_run_compiles_nothing_and_neither_do_the_solvers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "FEW_ACCESSES", 0)
    first = list(warm_up(FAMILIES))
    assert [result.name for result in first] == [family.name for family in FAMILIES]
    assert all(family.is_compiled() for family in FAMILIES)
    assert all(result.was_compiled and result.compiled_s < 60 for result in warm_up(FAMILIES))
    before = activity.compiled
    for seed in range(6):
        problem = random_case(seed, operators=8)
        for name in ("rl", "evolution", "noisy-greedy", "fluid", "greedy", "msa"):
            counted = name in {"rl", "evolution", "noisy-greedy"}
            parameters = {"simulations": 3} if counted else {}
            try:
                solve_with(name, problem, Asked(parameters=parameters))
            except InfeasibleError:
                continue
    solve_with("fluid", warming._tiny("a100-host"))
    whole = four_operators()
    whole = whole.on(replace(whole.target, split_operands=False))
    for name in ("fluid", "greedy", "rl"):
        solve_with(name, whole, Asked(parameters={"simulations": 3} if name == "rl" else {}))
    starts = np.arange(6000) // 2
    pack(starts, starts + 3, np.ones(6000, dtype=np.int64), time_limit_s=0.1)
    assert activity.compiled == before


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_uses_its_kernels_compiled(family: KernelFamily) -> None:
    """Small programs run them as plain Python, and a warm-up's are small."""
    family.run()
    assert [kernel for kernel in family.kernels() if not kernel.signatures] == []


def test_families_have_names_of_their_own() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_what_cannot_be_kept_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ULLAGE_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(activity, "unwritable", "")
    ran: list[str] = []
    family = KernelFamily("some", "somebody", tuple, lambda: ran.append("some"))
    (result,) = warm_up([family])
    assert not ran
    assert (result.name, result.compiled_s) == ("some", 0.0)
    assert kept_in() is None
    assert caplog.text.count("cannot be kept") == 1


def test_without_time_to_compile_paths_operators_are_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "is_ready", lambda: False)
    monkeypatch.setattr(paths, "PLAIN_WORK", 0)
    assert len(load_target("a100-host").tiers) == 3
    soon = Asked(deadline=time.monotonic() + paths.COMPILE_S)
    plan = solve_with("fluid", warming._tiny("a100-host"), soon)
    assert any("streamed: kernels" in note and "ullage warm-up" in note for note in plan.notes)
