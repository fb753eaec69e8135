"""Broken plans must fail when they are executed, without any help of the verifier.

`TABLE` says for every mutation of `tests.support.mutations` what execution owes: it is caught
always, or it may be harmless where it destroys no data, and then every output must be bit-exact.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest

from tests.support.models import Case, executed, model_file, solved, steady
from tests.support.mutations import MUTATIONS
from tests.support.solving import solve_with
from ullage.compiler.common.errors import InfeasibleError, VerificationError
from ullage.compiler.execute.runner import Execution, Executor
from ullage.compiler.importer.build import ImportOptions
from ullage.compiler.ir.graph import Graph, Operator, Sharing
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target

# What execution owes for a class of broken plans:
CAUGHT = "caught"  # every mutant raises, or an output differs
HARMLESS_OR_CAUGHT = "harmless or caught"  # some destroy no data in this plan: bit-exact then
HARMLESS = "harmless"  # data is never destroyed: the rule serves the hardware or the file format
PROBLEM = "problem"  # steps or uses are changed: refused, the model gives another problem
TYPES = "types"  # values of a wrong type: refused by the reader of plan files

TABLE: dict[str, tuple[str, str]] = {
    "overlap": (HARMLESS_OR_CAUGHT, "the overwritten data may be dead already"),
    "space-reused-early": (HARMLESS_OR_CAUGHT, "what comes after may be scratch, or never read"),
    "misaligned": (HARMLESS_OR_CAUGHT, "one byte further there may be nobody"),
    "beyond-capacity": (CAUGHT, "no such address"),
    "smaller-tier": (CAUGHT, "no such address"),
    "workspace-overflow": (PROBLEM, "workspace is part of the step"),
    "same-byte-twice": (CAUGHT, "nobody can say which copy is used"),
    "cut-residency": (HARMLESS, "granularity is a rule of the DMA engine"),
    "cut-transfer": (HARMLESS, "granularity is a rule of the DMA engine"),
    "split-operand": (CAUGHT, "the operand is scattered"),
    "early-free": (CAUGHT, "the operand is gone"),
    "operand-nowhere": (CAUGHT, "the operand is not there"),
    "taken-late": (CAUGHT, "the result has no place"),
    "wrong-tier": (CAUGHT, "out of reach of the compute unit"),
    "not-addressable": (CAUGHT, "out of reach of the compute unit"),
    "fastest-demanded": (CAUGHT, "out of reach of the compute unit"),
    "stale-after-write": (CAUGHT, "the older copy has other data"),
    "operator-writes-read-only": (CAUGHT, "the tier cannot be written"),
    "missing-transfer": (CAUGHT, "ready, but nothing arrived"),
    "no-link": (CAUGHT, "no DMA path"),
    "transfer-to-read-only": (CAUGHT, "the tier cannot be written"),
    "moved-too-few": (CAUGHT, "the last byte is missing"),
    "moved-too-many": (CAUGHT, "bytes outside the slice"),
    "moved-nothing": (CAUGHT, "a move without bytes"),
    "moves-swapped": (HARMLESS, "all bytes arrive in time; only their order in the file differs"),
    "step-twice": (HARMLESS, "all bytes arrive in time"),
    "moved-too-late": (CAUGHT, "the destination is in use already"),
    "ready-too-early": (CAUGHT, "the destination is in use already"),
    "ready-too-late": (HARMLESS_OR_CAUGHT, "nobody may need it at that step"),
    "ready-without-transfer": (CAUGHT, "the result has no place, or nothing arrived"),
    "destination-taken-late": (CAUGHT, "the moved bytes have no place"),
    "source-freed-early": (CAUGHT, "the source is gone"),
    "moved-while-written": (CAUGHT, "the source holds nothing, or is overwritten meanwhile"),
    "moved-before-written": (CAUGHT, "the source holds nothing"),
    "stale-source": (CAUGHT, "the source holds nothing"),
    "no-home": (CAUGHT, "the input has no place"),
    "home-late": (CAUGHT, "the input has no place"),
    "home-elsewhere": (CAUGHT, "the input has no place"),
    "output-freed": (CAUGHT, "the output is gone"),
    "output-dropped": (CAUGHT, "the output is gone"),
    "output-not-stored": (CAUGHT, "the output is elsewhere"),
    "carried-to-another-address": (CAUGHT, "the second inference does not find it"),
    "left-at-another-address": (CAUGHT, "the second inference does not find it"),
    "gone-before-the-end": (CAUGHT, "the second inference does not find it"),
    "not-filled-for-the-next": (CAUGHT, "the second inference does not find it"),
    "home-not-kept": (CAUGHT, "the second inference does not find it"),
    "carried-in-a-single-inference": (CAUGHT, "nothing arrived"),
    "input-carried": (CAUGHT, "nothing arrived"),
    "accessed-too-much": (PROBLEM, ""),
    "weight-written": (PROBLEM, ""),
    "read-before-written": (PROBLEM, ""),
    "no-first-dma-step": (PROBLEM, ""),
    "work-in-dma-step": (PROBLEM, ""),
    "use-of-unknown-buffer": (PROBLEM, ""),
    "buffer-out-of-range": (CAUGHT, "impossible residency"),
    "buffer-negative": (CAUGHT, "impossible residency"),
    "offset-negative": (CAUGHT, "impossible residency"),
    "bytes-reversed": (CAUGHT, "impossible residency"),
    "bytes-beyond-buffer": (CAUGHT, "impossible residency"),
    "steps-reversed": (CAUGHT, "impossible residency"),
    "residency-past-the-end": (CAUGHT, "impossible residency"),
    "move-past-the-end": (CAUGHT, "impossible transfer"),
    "unknown-tier": (CAUGHT, "no such memory"),
    "offset-nan": (TYPES, ""),
    "tier-unhashable": (TYPES, ""),
    "ready-missing": (TYPES, ""),
    "garbled-moves": (TYPES, ""),
}
CASES = [
    Case(model, target, solver, fast_bytes)
    for model in ("residual", "concat", "slices", "outputs", "branch", "late")
    for target, solver, fast_bytes in (
        ("split", "greedy", 2048),
        ("split", "msa", 2048),
        ("whole", "msa", 6144),
        ("fastest", "greedy", 6144),
        ("fastest-weights", "msa", 65536),
    )
]
SEEDS = range(3)


def waiting_tensor_fetched() -> Plan:
    """`late` in dram, but the tensor that waits is fetched in two steps before it is overwritten.

    No heuristic makes such a plan: the copy in dram is stale after step 4, transfers have two
    moves, and what an operator wrote to dram is read in sram.
    """
    base = solved("late", "split", "all-slow", 65536)
    (index,) = (i for i, b in enumerate(base.problem.buffers) if b.name == "a")
    held = Residency(index, 0, 1024, "sram", 0, 2, 4, 6)
    move = Transfer(index, 0, 1024, "dram", "sram", ((2, 256), (3, 768)))
    return replace(base, residencies=(*base.residencies, held), transfers=(move,))


@cache
def bases() -> tuple[tuple[str, Plan], ...]:
    """(model, plan) of all cases that have a plan, each known to run well."""
    found = [("late", waiting_tensor_fetched())]
    found += [(name, steady(name, "split")) for name in ("residual", "concat", "slices", "rows")]
    found += [(name, steady(name, "whole")) for name in ("residual", "branch")]
    for case in CASES:
        try:
            found.append((case.model, case.solve()))
        except InfeasibleError:
            continue
    for name, plan in found:
        assert find_violations(plan) == []
        assert exact(executed(name, plan))
    return tuple(found)


def exact(done: Execution) -> bool:
    return done.passed and all(check.bit_exact and check.finite for check in done.outputs)


@pytest.fixture
def only_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the model's own problem off: bytes alone must show what is wrong."""
    monkeypatch.setattr("ullage.compiler.execute.runner.check_problem_matches", lambda *_: None)


def outcome(name: str, plan: Plan) -> str:
    try:
        done = executed(name, plan)
    except VerificationError:
        return "caught"
    if not done.passed:
        return "caught"
    assert exact(done), "a small difference is no proof of harmlessness"
    return "harmless"


def mutants(name: str) -> list[tuple[str, Plan]]:
    made = []
    for model, plan in bases():
        for seed in SEEDS:
            broken = MUTATIONS[name].apply(plan, Random(seed))
            if broken is not None:
                made.append((model, broken))
    return made


def test_bases_are_many_and_most_move_data() -> None:
    assert len(bases()) > 25
    assert sum(bool(plan.transfers) for _, plan in bases()) > 20


def test_the_table_is_complete() -> None:
    assert TABLE.keys() == MUTATIONS.keys()
    assert sum(owed == CAUGHT for owed, _ in TABLE.values()) > 30


@pytest.mark.usefixtures("only_the_walk")
@pytest.mark.parametrize(
    "name", [name for name, (owed, _) in TABLE.items() if owed not in (PROBLEM, TYPES)]
)
def test_mutants_fail_or_are_harmless(name: str) -> None:
    owed, _ = TABLE[name]
    seen = Counter(outcome(model, plan) for model, plan in mutants(name))
    assert seen, "no plan offers a place for this mutation"
    if owed != HARMLESS_OR_CAUGHT:
        assert set(seen) == {owed}
    elif name != "ready-too-late":
        assert seen["caught"] > seen["harmless"] / 2, seen
    else:
        assert seen["caught"] > 0


@pytest.mark.parametrize("name", [name for name, (owed, _) in TABLE.items() if owed == PROBLEM])
def test_another_problem_is_refused(name: str) -> None:
    made = mutants(name)
    assert made
    for model, plan in made:
        with pytest.raises(VerificationError, match=r"not the same model|\[malformed\]"):
            executed(model, plan)


def shaken(plan: Plan, random: Random) -> Plan:
    """One number of a residency or a transfer changed a little."""
    step = random.choice((-256, -16, -1, 1, 16, 256))
    if plan.transfers and random.random() < 0.3:
        moved = list(plan.transfers)
        i = random.randrange(len(moved))
        moves = [(t + random.choice((-1, 1)), size) for t, size in moved[i].moves]
        moved[i] = replace(moved[i], moves=tuple(moves))
        return replace(plan, transfers=tuple(moved))
    items = list(plan.residencies)
    i = random.randrange(len(items))
    field = random.choice(("offset", "start", "ready", "end", "start_byte", "end_byte"))
    amount = step if field in ("offset", "start_byte", "end_byte") else random.choice((-1, 1))
    changes: dict[str, Any] = {field: getattr(items[i], field) + amount}
    if field == "start" and items[i].ready == items[i].start:
        changes["ready"] = items[i].ready + amount
    items[i] = replace(items[i], **changes)
    return replace(plan, residencies=tuple(items))


def test_what_the_verifier_lets_pass_runs_exactly() -> None:
    """The verifier and the executor share no rules: the one is no more lenient than the other."""
    random = Random(0)
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(1500):
        model, plan = random.choice(bases())
        broken = shaken(plan, random)
        legal = "legal" if not find_violations(broken, 1) else "illegal"
        seen[legal, outcome(model, broken)] += 1
    assert seen["legal", "caught"] == 0
    assert seen["legal", "harmless"] > 100
    assert seen["illegal", "caught"] > 500


# Wrong decisions about sharing: the graph or the aliases are changed, the plan is legal for them.


def run_wrongly_shared(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    aliases: Callable[[Graph, Aliases], Aliases] | None = None,
    sharings: Callable[[Operator], tuple[Sharing, ...]] | None = None,
) -> Execution:
    """Plan and execute a model whose importer or alias decision is wrong."""
    chip = load_target("edge-npu")
    known = solved(name, "split", "all-slow", 1 << 16)
    fresh = Executor(model_file(name), ImportOptions(), name=name)
    if sharings is not None:
        graph = fresh.imported.graph
        operators = tuple(replace(o, sharings=sharings(o)) for o in graph.operators)
        fresh.imported = replace(fresh.imported, graph=replace(graph, operators=operators))
    graph = fresh.imported.graph

    def decide(graph: Graph, order: Sequence[int], options: AliasOptions) -> Aliases:
        found = find_aliases(graph, order, options)
        return found if aliases is None else aliases(graph, found)

    for module in ("lowering.lower", "execute.job"):
        monkeypatch.setattr(f"ullage.compiler.{module}.find_aliases", decide)
    monkeypatch.setattr("ullage.compiler.lowering.lower.check_aliases", lambda *_: None)
    program = build_program(graph, range(len(graph.operators)))
    plan = solve_with("greedy", Problem(program, chip.with_fast_memory(4096)))
    return fresh.run(replace(plan, model=known.model))


def moved_into(found: Aliases, name: str, other: str) -> Aliases:
    """The value put where another one lies."""
    return replace(found, buffer_of={**found.buffer_of, name: found.buffer_of[other]})


def test_right_sharing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("residual", "concat", "slices", "views", "late"):
        assert exact(run_wrongly_shared(monkeypatch, name))


def test_in_place_over_a_live_input_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: Graph, found: Aliases) -> Aliases:
        assert found.buffer_of["b"] != found.buffer_of["a"]
        return moved_into(found, "b", "a")  # a is read again by the sum

    with pytest.raises(VerificationError, match="data of 'b', expected data of 'a'"):
        run_wrongly_shared(monkeypatch, "late", aliases=wrong)


def test_overwritten_part_of_a_concat_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Graph, found: Aliases) -> Aliases:
        root, _ = found.buffer_of["a"]
        assert root == "all"
        assert graph.values["a"].size_bytes == graph.values["t"].size_bytes
        return moved_into(found, "t", "a")  # t is made after part a, before the whole is read

    with pytest.raises(VerificationError, match="data of 't', expected data of"):
        run_wrongly_shared(monkeypatch, "concat", aliases=wrong)


def test_value_overwritten_while_a_view_of_it_lives_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(_: Graph, found: Aliases) -> Aliases:
        assert found.buffer_of["b"] == found.buffer_of["a"]  # b is a view of a, read late
        return moved_into(found, "s", "a")

    with pytest.raises(VerificationError, match="data of 's', expected data of 'a'"):
        run_wrongly_shared(monkeypatch, "views", aliases=wrong)


def test_view_freed_early_is_caught() -> None:
    plan = solved("views", "split", "greedy", 4096)
    (index,) = (
        i
        for i, b in enumerate(plan.problem.buffers)
        if {"a", "b", "f"} <= {v.name for v in b.values}
    )
    reads = [t for t, use in plan.problem.uses_of[index] if not use.write]
    assert len(reads) > 2
    for last in reads[1:]:
        cut = [
            replace(r, end=min(r.end, last)) if r.buffer == index else r
            for r in plan.residencies
            if r.buffer != index or r.start < last
        ]
        moves = [m for m in plan.transfers if m.buffer != index or m.moves[-1][0] < last]
        broken = replace(plan, residencies=tuple(cut), transfers=tuple(moves))
        with pytest.raises(VerificationError, match="not resident"):
            executed("views", broken)


@pytest.mark.parametrize(
    ("model", "operator", "shift"),
    [("slices", "cut", 256), ("slices", "cut", -256), ("slices", "parts", 256)],
)
def test_wrong_offset_of_a_part_is_caught(
    monkeypatch: pytest.MonkeyPatch, model: str, operator: str, shift: int
) -> None:
    """The dataflow believes in the wrong offset too, so that only the numbers can tell."""

    def wrong(item: Operator) -> tuple[Sharing, ...]:
        if item.name == operator and operator == "parts":  # its first two parts trade places
            one, two, three = item.sharings
            return (
                replace(one, offset_bytes=two.offset_bytes),
                replace(two, offset_bytes=one.offset_bytes),
                three,
            )
        if item.name == operator:
            return tuple(replace(s, offset_bytes=s.offset_bytes + shift) for s in item.sharings)
        return item.sharings

    done = run_wrongly_shared(monkeypatch, model, sharings=wrong)
    assert not done.passed
    assert any(not check.bit_exact for check in done.outputs)


def test_transpose_taken_for_a_view_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(item: Operator) -> tuple[Sharing, ...]:
        if item.kind == "Transpose":
            return (Sharing("view", item.outputs[0], item.inputs[0]),)
        return item.sharings

    done = run_wrongly_shared(monkeypatch, "views", sharings=wrong)
    assert not done.passed


def test_transpose_elided_against_its_sharings_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Graph, found: Aliases) -> Aliases:
        (name,) = (o.name for o in graph.operators if o.kind == "Transpose")
        elided = replace(found, elided=found.elided | {name})
        return moved_into(elided, "t", "a")

    with pytest.raises(VerificationError, match="expected data of 't'"):
        run_wrongly_shared(monkeypatch, "views", aliases=wrong)


def test_scratch_of_a_subgraph_destroys_what_it_overlaps() -> None:
    plan = solved("branch", "split", "msa", 6144)
    scratch = next(
        r for r in plan.residencies if plan.problem.buffers[r.buffer].name.endswith("#body")
    )
    operands = [
        r
        for r in plan.residencies
        if r.tier == scratch.tier
        and r.buffer != scratch.buffer
        and r.start < scratch.end <= r.end
        and any(t == scratch.start for t, _ in plan.problem.uses_of[r.buffer])
    ]
    assert operands
    for r in operands:
        moved = tuple(replace(s, offset=r.offset) if s == scratch else s for s in plan.residencies)
        with pytest.raises(VerificationError, match=r"poison|holds data of"):
            executed("branch", replace(plan, residencies=moved))


def test_operator_steps_are_all_executed() -> None:
    for model, plan in bases():
        steps = sum(step.kind != DMA_STEP for step in plan.problem.steps)
        done = executed(model, plan)
        assert done.inferences == (3 if plan.problem.steady_state else 1)
        assert done.steps == steps * done.inferences
