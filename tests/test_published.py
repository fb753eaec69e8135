"""Published runs of streamed weights: `benchmarks/published_streaming.py` in the small."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ullage.compiler.ir.assignment import assignment_of
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.run import run_solver

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("published_streaming", "flash_policy", "flexgen_policy", "opt_steps", "common")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import published_streaming

    yield published_streaming
    for name in MODULES:
        sys.modules.pop(name)


def test_opt_has_the_parameters_of_its_release(published: ModuleType) -> None:
    problem = published.token_step(
        published.OPT_6_7B, load_target("m1max-flash"), 256, steady_state=False
    )
    weights = [b.size_bytes for b in problem.program.buffers if b.constant]
    assert sum(weights) == 2 * 6_658_473_984
    assert len(weights) == 32 * 16 + 4


@pytest.mark.parametrize("name", ["opt-30b", "opt-175b"])
def test_policy_is_legal_and_no_faster_than_a_solver(published: ModuleType, name: str) -> None:
    run = published.RUNS[name]
    small = replace(
        run,
        model=replace(run.model, layers=8, hidden=512, inner=2048),
        policy=replace(run.policy, batch=8),
    )
    problem, policy = published.policy_problems(small, 4)
    verify(policy)
    weights = sum(b.size_bytes for b in problem.program.buffers if b.constant)
    caches = sum(
        b.size_bytes for b in problem.program.buffers if b.kind == "input" and "cache" in b.name
    )
    shares = run.policy
    on_gpu = sum(
        r.end_byte - r.start_byte
        for r in policy.residencies
        if r.tier == "gpu" and (r.start, r.end) == (0, len(problem.steps))
    )
    assert on_gpu == pytest.approx(shares.weights_gpu * weights, rel=0.02)
    moved = {
        (source, destination): sum(
            t.end_byte - t.start_byte
            for t in policy.transfers
            if (t.source, t.destination) == (source, destination)
        )
        for source, destination in (("cpu", "gpu"), ("disk", "cpu"))
    }
    assert moved["cpu", "gpu"] == weights - on_gpu
    on_disk = (1 - shares.weights_gpu - shares.weights_cpu) * weights
    if run.cache == "disk":
        on_disk += caches + problem.program.buffers[0].size_bytes
    assert moved["disk", "cpu"] == pytest.approx(on_disk, abs=1)
    assert run_solver("greedy", problem).value <= score(policy).latency_s


def test_wait_for_a_read_is_charged_to_each(published: ModuleType) -> None:
    model = replace(published.OPT_6_7B, layers=1, hidden=256, inner=512, vocabulary=4096)
    problem = published.token_step(model, load_target("m1max-flash"), 16, steady_state=False)
    outcome = run_solver("greedy", problem)
    answer = assignment_of(outcome.plan)
    reads = sum(t.source == "flash" for t in answer.transfers)
    assert published.latency_with(answer, 40e-6) == pytest.approx(outcome.value)
    longer = published.latency_with(answer, 1.0) - published.latency_with(answer, 0.0)
    assert 0.99 * reads < longer <= reads


def test_half_of_a_model_stays(published: ModuleType) -> None:
    model = replace(published.OPT_6_7B, layers=4, hidden=256, inner=1024, vocabulary=512)
    problem = published.token_step(model, load_target("m1max-flash"), 16, steady_state=True)
    answer = published.half_kept(problem)
    verify(answer)
    matrix = 2 * 256 * 1024
    weights = sum(b.size_bytes for b in problem.program.buffers if b.constant)
    assert 0 <= published.moved_bytes(answer, "flash") - weights / 2 < matrix


def test_stored_rows(published: ModuleType) -> None:
    flash, policies = (
        json.loads((BENCHMARKS / "results" / f"{name}.json").read_text("utf-8"))
        for name in (published.FLASH, published.POLICIES)
    )
    assert {row["run"] for row in flash} == set(published.TABLE_2)
    assert all(abs(float(row["off %"])) <= 5 for row in flash)
    assert {row["model"] for row in policies} == set(published.RUNS)
    assert all(float(row["policy / ours"]) >= 1 for row in policies)
