"""The rules of the contest, by hand and against the checker that was published with them."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.contest import CHAIN, random_document, random_solution
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.contest.instance import instance_of
from ullage.compiler.contest.rules import evaluate
from ullage.compiler.contest.solution import Subgraph

CHECKER = Path(__file__).parents[4] / "shared" / "mlsys26" / "evaluate.py"
SINGLE = {
    "widths": [8, 8, 8],
    "heights": [8, 8, 8],
    "inputs": [[0, 1]],
    "outputs": [[2]],
    "op_types": ["MatMul"],
    "base_costs": [10],
    "fast_memory_capacity": 100,
    "slow_memory_bandwidth": 2,
    "native_granularity": [4, 4],
}


def cost(document: dict[str, Any], *subgraphs: Subgraph, strict: bool = False) -> float:
    return evaluate(instance_of(document, "test"), subgraphs, strict=strict).cost


def broken(document: dict[str, Any], *subgraphs: Subgraph, strict: bool = False) -> tuple[int, str]:
    """The subgraph and the rule that is broken."""
    with pytest.raises(VerificationError) as caught:
        cost(document, *subgraphs, strict=strict)
    assert f"subgraph {caught.value.details['subgraph']}" in str(caught.value)
    return caught.value.details["subgraph"], caught.value.details["rule"]


def test_strips_are_loaded_once_while_they_serve() -> None:
    # four tiles of 4 x 4: each stores 16; strips of 32 for each operand
    both, one = max(10, (64 + 16) / 2), max(10, (32 + 16) / 2)
    by_rows = Subgraph((0,), (4, 4, 8))
    assert cost(SINGLE, by_rows) == both + one + both + one
    assert cost(SINGLE, Subgraph((0,), (4, 4, 8), (), (0, 1, 3, 2))) == both + 3 * one
    assert cost(SINGLE, Subgraph((0,), (4, 4, 8), (), (0, 3, 1, 2))) == 4 * both - 16


def test_steps_load_their_part_and_store_at_the_end() -> None:
    # two steps a tile: 16 of each operand, computing halved
    first, last = max(5, 32 / 2), max(5, (32 + 16) / 2)
    assert cost(SINGLE, Subgraph((0,), (4, 4, 4))) == 4 * (first + last)
    # 3, 3 and 2 of the depth
    parts = [max(10 * k / 8, 8 * k / 2) for k in (3, 3)]
    end = max(10 * 2 / 8, (16 + 16) / 2)
    assert cost(SINGLE, Subgraph((0,), (4, 4, 3))) == pytest.approx(4 * (sum(parts) + end))


def test_what_is_retained_costs_nothing_to_read_and_is_not_stored() -> None:
    apart = [Subgraph((operator,), (8, 8, 4)) for operator in range(4)]
    apart[2] = Subgraph((2,), (4, 4, 4))
    kept = list(apart)
    kept[1] = Subgraph((1,), (8, 8, 4), (4,))
    not_stored = 4 * (64 + 64) / 4 - 4 * 64 / 4
    # of 16 tiles with four steps each: the last stores, too; computing takes 7.5 of each
    with_operand, without = 3 * (32 / 4) + 48 / 4, 3 * 7.5 + 32 / 4
    saved = not_stored + 16 * (with_operand - without)
    assert cost(CHAIN, *apart) - cost(CHAIN, *kept) == pytest.approx(saved)


def test_broken_rules_are_named() -> None:
    single = [Subgraph((operator,), (8, 8, 4)) for operator in range(4)]

    def with_first(*changed: Subgraph) -> tuple[int, str]:
        return broken(CHAIN, *changed, *single[1:])

    assert broken(CHAIN, *single[:3]) == (3, "coverage")
    assert with_first(Subgraph((0,), (9, 8, 4))) == (0, "granularity")
    assert with_first(Subgraph((0,), (0, 8, 4))) == (0, "granularity")
    assert with_first(Subgraph((0, 0), (8, 8, 4))) == (0, "order")
    assert with_first(Subgraph((7,), (8, 8, 4))) == (0, "numbers")
    assert with_first(Subgraph((0,), (8, 8, 4), (99,))) == (0, "numbers")
    assert with_first(Subgraph((0,), (8, 8, 4), (0,))) == (0, "retention")
    assert with_first(Subgraph((0,), (8, 8, 4), (), (0, 1, 2, 2))) == (0, "traversal")
    tight = CHAIN | {"fast_memory_capacity": 100}
    assert broken(tight, Subgraph((0,), (8, 8, 4)), *single[1:]) == (0, "capacity")
    assert broken(CHAIN, *single[::-1]) == (0, "operands")
    assert broken(CHAIN, Subgraph((1, 0), (8, 8, 4)), *single[2:]) == (0, "order")
    assert broken(CHAIN, *single[:3], Subgraph((3,), (8, 8, 4), (6,))) == (3, "retention")
    # operator 2 reads tensor 4, which stays inside, and 3 runs without its producers
    forked = CHAIN | {"inputs": [[0, 1], [3], [4, 2], [4, 0]]}
    whole = Subgraph((0, 1, 2), (4, 4, 16))
    assert broken(forked, whole, single[3]) == (0, "recomputation")
    assert broken(CHAIN, Subgraph((0, 1, 2), (8, 8, 4)), single[3]) == (0, "steps")
    sides = CHAIN | {"widths": [16] * 6 + [16]}
    assert broken(sides, Subgraph((0, 1, 2, 3), (8, 8, 4))) == (0, "steps")


def test_the_strict_reading_refuses_pointwise_between_matmuls() -> None:
    fused = [Subgraph((0, 1, 2), (4, 4, 16)), Subgraph((3,), (8, 8, 1))]
    assert cost(CHAIN, *fused) > 0
    assert broken(CHAIN, *fused, strict=True) == (0, "strict")
    apart = [Subgraph((operator,), (8, 8, 4)) for operator in range(4)]
    assert cost(CHAIN, *apart, strict=True) == cost(CHAIN, *apart)


@pytest.mark.skipif(not CHECKER.is_file(), reason="the published checker is not here")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves files open
@pytest.mark.parametrize("seed", range(4))
def test_the_published_checker_agrees(tmp_path: Path, seed: int) -> None:
    spec = importlib.util.spec_from_file_location("contest_checker", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    random, seen = Random(seed), Counter[str]()
    for _ in range(40):
        document = random_document(random, 6)
        (tmp_path / "1.json").write_text(json.dumps(document))
        problem = checker.Prob(tmp_path / "1.json")
        instance = instance_of(document, "random")
        for _ in range(40):
            solution = random_solution(random, instance)
            try:
                theirs = checker.evaluate(
                    problem,
                    [
                        (list(s.operators), s.granularity, list(s.retained), s.traversal)
                        for s in solution
                    ],
                )
            except checker.Bad:
                theirs = None
            try:
                ours = evaluate(instance, solution).cost
            except VerificationError as error:
                ours = None
                seen[error.details["rule"]] += 1
            if ours is None or theirs is None:
                assert ours == theirs, (document, solution)
            else:
                assert ours == pytest.approx(theirs, rel=1e-9)
                seen["valid"] += 1
    assert seen["valid"] > 50
    assert len(seen) > 6, seen
