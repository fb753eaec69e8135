"""Published figures of weights that stream from slow memory, beside ours.

LLM in a flash (arXiv 2312.11514v3, table 2): OPT-6.7B in float16 on an M1 Max. `naive` loads all of
the model for every token: one step planned by itself, from flash. `hybrid` keeps half of it:
its plan is written as theirs works (`flash_policy.py`); with a solver's name, that plans for DRAM
that has room for half of the weights' bytes, in steady state. Its authors call what they say
of these two the best that is possible in theory. No figure of the target comes from these rows.
The same plan is also scored with other waits for a read's first byte, which the table's rows of
sparse reads imply: 8 KiB at 1.25 GB/s and 16 KiB at 2.25 GB/s, 32 reads at once, are 5.3 and 4.7 us
for each beside n / 6 GiB/s, and 32 times as much where one read alone is waited for.

FlexGen (arXiv 2303.06865): its policies for OPT-30B and OPT-175B on a T4 (its repository's
`benchmark/flexgen/bench_suite.py`; prompts of 512 tokens, 32 generated: caches of 528), written as
plans, verified and scored by our cost model, beside plans of solvers. Layers are alike, and fewer
are planned: memories shrink with them. What the policy's plan needs beside, for two layers at a
time, comes on top of its share; ours has less memory: its share, the largest cache, and what
operators of a layer make.

Run: python benchmarks/published_streaming.py [--only naive,hybrid,opt-30b,opt-175b]
     [--solvers greedy,fluid] [--flash-solvers fluid] [--layers 8]
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from common import ROOT, put_row
from flash_policy import half_kept
from flexgen_policy import Policy, draft_of, own_estimate
from opt_steps import OPT_6_7B, OPT_30B, OPT_175B, Opt, block_step, token_step

from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.run import Outcome, run_solver

FLASH, POLICIES = "published_streaming", "published_policies"
T4 = str(ROOT / "benchmarks" / "targets" / "flexgen-t4.yaml")
# Tokens in the caches: a prompt of 128 and half of 256 generated; 512 and half of 32.
FLASH_PAST, T4_PAST = 256, 528
# Waits for the first byte of a read that the sparse rows of the paper's table imply, seconds.
WAITS_S = (5e-6, 160e-6)
# In place of a solver: the plan of `flash_policy`.
BY_HAND = "by hand"
FLASH_COLUMNS = (
    *("run", "layers", "solver", "published GB", "GB read", "reads", "published ms", "ms", "off %"),
    *("ms at the published GB", "off % there", "ms: 5 us a read", "ms: 160 us a read"),
    *("gap %", "CPU s"),
)
POLICY_COLUMNS = (
    *("model", "layers", "of", "policy", "batch", "its own model s", "policy s", "solver"),
    *("ours s", "policy / ours", "GB of gpu: policy", "GB of gpu: ours", "GB of cpu: policy"),
    *("GB of cpu: ours", "GB from disk: policy", "GB from disk: ours", "gap %", "CPU s"),
)


@dataclass(frozen=True)
class Published:
    """A row of LLM in a flash's table 2.

    Attributes:
        read_gb: read from flash for a token.
        latency_ms: for which that takes.
        share: of the weights' bytes that DRAM has room for; None: nothing stays.
    """

    read_gb: float
    latency_ms: float
    share: float | None


@dataclass(frozen=True)
class Offloaded:
    """A run of FlexGen: the model, its policy, and where caches are at home."""

    model: Opt
    policy: Policy
    cache: str


TABLE_2 = {"naive": Published(13.4, 2196, None), "hybrid": Published(6.7, 1090, 0.5)}
# Solvers of the rows unless they are named: those that take seconds.
POLICY_SOLVERS = {"opt-30b": "greedy,fluid", "opt-175b": "greedy"}
FLASH_SOLVERS = {"naive": "greedy", "hybrid": BY_HAND}
RUNS = {
    "opt-30b": Offloaded(OPT_30B, Policy(0.2, 0.8, 1, 48 * 3), "cpu"),
    "opt-175b": Offloaded(OPT_175B, Policy(0, 0.5, 0, 32 * 8), "disk"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join([*TABLE_2, *RUNS]))
    parser.add_argument("--solvers", default="", help="of the policies' rows")
    parser.add_argument("--flash-solvers", default="", help=f"or {BY_HAND!r}, for `hybrid`")
    parser.add_argument("--layers", type=int, default=8, help="of the policies' models")
    given = parser.parse_args()
    for name in given.only.split(","):
        if name in TABLE_2:
            for solver in (given.flash_solvers or FLASH_SOLVERS[name]).split(","):
                row = flash_row(name, OPT_6_7B, solver)
                print(row, flush=True)
                put_row(FLASH, flash_title, FLASH_COLUMNS, row, (0, 1, 2))
        else:
            for solver in (given.solvers or POLICY_SOLVERS[name]).split(","):
                row = policy_row(name, given.layers, solver)
                print(row, flush=True)
                put_row(POLICIES, policy_title, POLICY_COLUMNS, row, (0, 1, 7))


def flash_title(rows: list[list[str]]) -> str:
    """The table's title."""
    worst = max(abs(float(row[8])) for row in rows)
    return (
        f"Weights from flash beside LLM in a flash's table 2: at most {worst:.1f} % off on "
        "`m1max-flash`, OPT-6.7B in float16, all plans verified"
    )


def policy_title(rows: list[list[str]]) -> str:
    """The table's title."""
    least = min(float(row[9]) for row in rows)
    return (
        f"FlexGen's policies beside ours: a policy takes at least {least:.3f} times as long on our "
        "cost model, one token of a block, all plans verified"
    )


def flash_row(name: str, model: Opt, solver: str) -> list[str]:
    """A row of the paper's table planned on `m1max-flash`."""
    stated = TABLE_2[name]
    if solver == BY_HAND:
        problem = token_step(model, load_target("m1max-flash"), FLASH_PAST, steady_state=True)
        since, answer = time.process_time(), half_kept(problem)
        verify(answer)
        seconds, above, cpu_s = score(answer).latency_s, "-", time.process_time() - since
    else:
        outcome, cpu_s = solved(flash_problem(stated, model), solver)
        answer, seconds, above = assignment_of(outcome.plan), outcome.value, gap(outcome)
    came = moved_bytes(answer, "flash")
    at_stated = 1e3 * seconds * stated.read_gb / (came / 1e9)
    return [
        name,
        str(model.layers),
        solver,
        f"{stated.read_gb:g}",
        f"{came / 1e9:.3f}",
        str(sum(t.source == "flash" for t in answer.transfers)),
        f"{stated.latency_ms:g}",
        f"{1e3 * seconds:.1f}",
        f"{100 * (1e3 * seconds / stated.latency_ms - 1):.2f}",
        f"{at_stated:.1f}",
        f"{100 * (at_stated / stated.latency_ms - 1):.2f}",
        *(f"{1e3 * latency_with(answer, wait):.1f}" for wait in WAITS_S),
        above,
        f"{cpu_s:.1f}",
    ]


def flash_problem(stated: Published, model: Opt) -> Problem:
    """One token with all weights in flash, or in steady state with room in DRAM for a share."""
    whole = token_step(model, load_target("m1max-flash"), FLASH_PAST, steady_state=False)
    if stated.share is None:
        return whole
    weights = sum(b.size_bytes for b in whole.program.buffers if b.constant)
    room = int(stated.share * weights) // 4096 * 4096
    target = load_target("m1max-flash", {"tiers.dram.capacity_bytes": str(room)})
    return token_step(model, target, FLASH_PAST, steady_state=True)


def latency_with(answer: Assignment, wait_s: float) -> float:
    """Seconds of a plan with another wait for the first byte of a read from flash."""
    target = answer.target
    links = tuple(
        replace(link, setup_s=wait_s) if link.source == "flash" else link for link in target.links
    )
    problem = answer.problem.on(replace(target, links=links))
    return score(replace(answer, problem=problem)).latency_s


def policy_row(name: str, layers: int, solver: str) -> list[str]:
    """A policy and a solver's plan, of some of the model's layers."""
    run = RUNS[name]
    problem, policy = policy_problems(run, layers)
    verify(policy)
    theirs = score(policy).latency_s
    outcome, cpu_s = solved(problem, solver)
    ours = assignment_of(outcome.plan)
    shares, targets = run.policy, (policy.target, ours.target)
    return [
        name,
        str(layers),
        str(run.model.layers),
        f"{100 * shares.weights_gpu:g}/{100 * shares.weights_cpu:g}, cache {run.cache}",
        str(shares.batch),
        f"{own_estimate(replace(run.model, layers=layers), shares, T4_PAST):.3f}",
        f"{theirs:.3f}",
        solver,
        f"{outcome.value:.3f}",
        f"{theirs / outcome.value:.3f}",
        *(f"{capacity(t, tier) / 1e9:.2f}" for tier in ("gpu", "cpu") for t in targets),
        *(f"{moved_bytes(each, 'disk') / 1e9:.2f}" for each in (policy, ours)),
        gap(outcome),
        f"{cpu_s:.1f}",
    ]


def policy_problems(run: Offloaded, layers: int) -> tuple[Problem, Assignment]:
    """What a solver is given, and the policy's plan, with memories for so many layers."""
    model = replace(run.model, layers=layers)
    homes = {"homes.input": run.cache, "homes.output": run.cache}
    whole = load_target(T4, homes)
    draft = draft_of(block_step(model, whole, run.policy.batch, T4_PAST), run.policy)
    share = layers / run.model.layers
    theirs = shrunk(homes, whole, draft.transient_bytes, share)
    least = {
        "gpu": sum(draft.size(f"layer0.{what}") for what in ("query", "attention", "out", "fc1")),
        "cpu": draft.size("layer0.cache") if run.cache == "disk" else 0,
    }
    ours = shrunk(homes, whole, least, share)
    answer = draft_of(block_step(model, theirs, run.policy.batch, T4_PAST), run.policy).assignment()
    return block_step(model, ours, run.policy.batch, T4_PAST), answer


def shrunk(
    homes: Mapping[str, str], target: Target, transient: Mapping[str, int], share: float
) -> Target:
    """The target with a share of its memories, beside what any number of layers needs.

    Args:
        homes: overrides of the target.
        target: with all of its memory.
        transient: by tier, bytes that any number of layers needs.
        share: of the rest.
    """
    sizes = dict(homes)
    for tier in ("gpu", "cpu"):
        kept = transient.get(tier, 0)
        room = int(kept + share * (capacity(target, tier) - kept)) // 4096 * 4096
        sizes[f"tiers.{tier}.capacity_bytes"] = str(room)
    return load_target(T4, sizes)


def solved(problem: Problem, solver: str) -> tuple[Outcome, float]:
    """A verified plan and the processor's seconds that it took."""
    since = time.process_time()
    outcome = run_solver(solver, problem)
    return outcome, time.process_time() - since


def gap(outcome: Outcome) -> str:
    """How far a plan is above the best bound known of it, in percent."""
    bounds = [lower_bound(outcome.plan.problem).value, outcome.plan.lower_bound or 0.0]
    return f"{100 * (outcome.value / max(bounds) - 1):.2f}"


def moved_bytes(answer: Assignment, source: str) -> int:
    """Bytes that DMA takes from a tier."""
    return sum(t.end_byte - t.start_byte for t in answer.transfers if t.source == source)


def capacity(target: Target, tier: str) -> int:
    """Bytes of a tier."""
    return target.tier(tier).capacity_bytes


if __name__ == "__main__":
    main()
