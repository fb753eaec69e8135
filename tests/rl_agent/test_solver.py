"""Decodes, players, network and training of the agent behind `rl`."""

import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.rl_agent.env.test_game import CASES
from tests.support.solving import Asked, solve_with
from ullage.cli.main import run
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent import solver as rl
from ullage.rl_agent.env.game_instance import set_table
from ullage.rl_agent.env.plans import plan_of
from ullage.rl_agent.env.rules import restart
from ullage.rl_agent.env.state import BUSY_S, RECTANGLES, copy_of, start_of
from ullage.rl_agent.policy.decode import KINDS, LEAST_FALL, decode, is_idle, run_of
from ullage.rl_agent.policy.features import FEATURES, Encoding, encode
from ullage.rl_agent.policy.gumbel import gumbel_search
from ullage.rl_agent.policy.network import load_network, random_network, zero_network
from ullage.rl_agent.policy.players import PASSES, Player, Policy, evolve, heuristic, noisy_greedy
from ullage.rl_agent.policy.trial import ASPECTS, FAILED, LATER, Offer, try_run
from ullage.rl_agent.training.instances import TrainingInstance, load_instance, synthetic_programs
from ullage.rl_agent.training.synthetic import FAMILIES, random_program
from ullage.rl_agent.training.train import (
    Training,
    TrainOptions,
    begin_training,
    items_of,
    load_training,
    merge,
    save_training,
    train,
)
from ullage.rl_agent.training.work import play_item
from ullage.solvers.registry import find_solver

SMALL = TrainOptions(seed=3, programs=3, batch=2, pairs=4, families=("cells", "dense"))
POOL = tuple(synthetic_programs(SMALL.seed, SMALL.families, SMALL.programs))
INSTANCES = [instance for instance in map(load_instance, POOL) if instance is not None]


def any_policy(encoding: Encoding, rng: np.random.Generator) -> Policy:
    """Random scores; in every second case random weights for the state, too."""
    weights = rng.normal(0.0, float(rng.integers(2)), (KINDS, ASPECTS))
    return Policy(rng.normal(0.0, 2.0, len(encoding.key)), weights)


def begun() -> Training:
    return begin_training(SMALL, [instance.encoding for instance in INSTANCES])


def test_a_decode_with_addresses_is_a_plan_and_its_score() -> None:
    for seed, problem, target, table in CASES:
        rng = np.random.default_rng(seed)
        start = start_of(table)
        encoding = encode(table.board, start)
        state = copy_of(start)
        policy = any_policy(encoding, rng)
        busy_s = decode(table.board, state, start, encoding.moves, *policy, PASSES, True)
        assert state.counts[RECTANGLES] >= (state.last >= 0).sum()
        assert busy_s <= start.total[BUSY_S] * (1 + 1e-9)
        plan = plan_of(problem, table, state, solver="test")
        assert find_violations(plan) == []
        assert score(plan).latency_s == pytest.approx(busy_s + table.overhead_s, rel=1e-9)
        again = decode(table.board, state, start, encoding.moves, *policy, PASSES, True)
        assert again == busy_s


def test_a_decode_never_counts_more_live_bytes_than_there_are() -> None:
    for seed, _, _, table in CASES:
        start = start_of(table)
        encoding = encode(table.board, start)
        state = copy_of(start)
        policy = any_policy(encoding, np.random.default_rng(seed))
        loose_s = decode(table.board, state, start, encoding.moves, *policy, PASSES, False)
        assert loose_s <= start.total[BUSY_S] * (1 + 1e-9)
        assert (state.load_bytes <= table.board.capacity_bytes).all()
        assert (state.load_bytes >= table.board.workspace_bytes).all()


def large_case() -> tuple[Encoding, Player]:
    table = CASES[0][3]
    for seed in range(50):
        try:
            table = set_table(*random_program(Random(seed), ("inception",)))
        except InfeasibleError:
            continue
        break
    start = start_of(table)
    encoding = encode(table.board, start)
    return encoding, Player(table.board, start, encoding, 60)


@pytest.mark.parametrize("search", [noisy_greedy, evolve, gumbel_search])
def test_players_count_their_calls_and_never_lose_to_where_they_start(search: object) -> None:
    encoding, player = large_case()
    _, other = large_case()
    for one in (player, other):
        search(one, heuristic(encoding), np.random.default_rng(1))  # type: ignore[operator]
        assert one.calls == one.max_calls
        assert one.best_s <= one.curve[0][1]
        assert float(one.replay().total[BUSY_S]) == one.best_s
    assert player.curve == other.curve


def test_features_are_numbers_of_the_order_of_one() -> None:
    for _, _, _, table in CASES:
        encoding = encode(table.board, start_of(table))
        assert encoding.features.shape == (len(encoding.key), FEATURES)
        assert np.isfinite(encoding.features).all()
        assert np.abs(encoding.features).max() < 50
        assert sorted(encoding.by_step) == list(range(len(encoding.key)))
        assert np.isfinite(encoding.key).all()


def test_the_untrained_network_is_the_heuristic() -> None:
    encoding, _ = large_case()
    for network in (zero_network(), begun().network):
        for part, same in zip(network.policy(encoding), heuristic(encoding), strict=True):
            assert np.array_equal(part, same)
    for part, other in zip(random_network(1).policy(encoding), heuristic(encoding), strict=True):
        assert not np.array_equal(part, other)


def test_a_network_sees_features_in_units_of_their_spread() -> None:
    features = np.concatenate([instance.encoding.features for instance in INSTANCES])
    network = begun().network
    scaled = (features - network.shift) / network.spread
    assert np.abs(scaled.mean(axis=0)).max() < 1e-9
    assert scaled.std(axis=0).max() == pytest.approx(1.0)
    encoding = INSTANCES[0].encoding
    wider = replace(network, spread=2 * network.spread, shift=network.shift - 1.0)
    other = encoding._replace(features=2 * (encoding.features - network.shift) + wider.shift)
    other.features[:, :KINDS] = encoding.features[:, :KINDS]  # they are read as they are, too
    weights = random_network(2).weights
    found = replace(network, weights=weights).residual(encoding)
    assert found.std() > 0.1
    wider.shift[:KINDS], wider.spread[:KINDS] = network.shift[:KINDS], network.spread[:KINDS]
    assert replace(wider, weights=weights).residual(other) == pytest.approx(found)


def decoded_slowly(instance: TrainingInstance, policy: Policy) -> tuple[float, int]:
    """Busy seconds of a decode, candidate by candidate, and how often one was put back."""
    board, state, (_, gain_s, room) = instance.board, instance.state, instance.encoding.moves
    candidates, accesses = (
        instance.encoding.moves.candidates.tolist(),
        len(instance.board.ev_segment),
    )
    restart(state, instance.start)
    scores = dict(enumerate(policy.scores.tolist()))
    failed: list[int] = []
    put_back = 0
    while scores:
        i = max(scores, key=lambda j: (scores[j], -j))
        score = scores.pop(i)
        kind = candidates[i] // accesses
        if is_idle(board, state, candidates[i]):
            continue
        weights, aspects = policy.state_w[kind], np.zeros(ASPECTS)
        aspects[6] = 1 - (len(scores) + 1) / len(candidates)
        aspects[7] = state.total[BUSY_S] / instance.start.total[BUSY_S]
        least = -np.inf
        if weights.any() and scores:
            least = min(max(scores.values()), score - LEAST_FALL) - policy.scores[i]
        offer = Offer(float(gain_s[i]), float(room[i]), least, weights, aspects)
        run = run_of(board, candidates[i])
        outcome, worth = try_run(board, state, *run, offer, False)
        if outcome == LATER:
            scores[i] = policy.scores[i] + worth
            put_back += 1
        elif outcome == FAILED:
            failed.append(candidates[i])
    offer = Offer(0.0, 0.0, -np.inf, policy.state_w[0], np.zeros(ASPECTS))
    for candidate in failed:
        if not is_idle(board, state, candidate):
            try_run(board, state, *run_of(board, candidate), offer, False)
    return float(state.total[BUSY_S]), put_back


def test_candidates_are_put_back_where_their_score_falls() -> None:
    """The decode with its heap equals one that looks for the best every time."""
    rng = np.random.default_rng(0)
    put_back = 0
    for instance in INSTANCES:
        order = heuristic(instance.encoding)
        for _ in range(4):
            weights = rng.normal(0.0, 1.0, (KINDS, ASPECTS))
            policy = order._replace(state_w=weights).moved(rng.normal(0.0, 0.1, len(order.scores)))
            busy_s, count = decoded_slowly(instance, policy)
            put_back += count
            assert instance.seconds(policy) == busy_s
        apart = order.moved(99.0 * order.scores + np.arange(len(order.scores)) * 1e-3)
        weighed = apart._replace(state_w=np.full((KINDS, ASPECTS), 0.01))  # too little for the next
        assert instance.seconds(weighed) == pytest.approx(instance.seconds(apart), rel=1e-9)
    assert put_back > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_families_give_programs_with_something_to_decide(family: str) -> None:
    accesses = []
    for seed in range(6):
        problem, target = random_program(Random(seed), (family,))
        assert any(step.macs for step in problem.steps)
        assert any(buffer.kind == "output" for buffer in problem.buffers)
        try:
            accesses.append(len(set_table(problem).board.ev_segment))
        except InfeasibleError:
            continue
    assert max(accesses) > 30


def trained(training: Training, generations: int) -> Training:
    return train(training, POOL, lambda t: t.generation < generations)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(begun(), 6)
    save_training(trained(begun(), 2), tmp_path / "half.safetensors")
    resumed = trained(load_training(tmp_path / "half.safetensors"), 6)
    save_training(whole, tmp_path / "whole.safetensors")
    save_training(resumed, tmp_path / "resumed.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (
        tmp_path / "resumed.safetensors"
    ).read_bytes()
    assert not np.array_equal(whole.average, begun().average)
    assert load_network(tmp_path / "whole.safetensors").weights.tolist() == whole.average.tolist()


def test_a_generation_does_not_depend_on_who_plays_its_items_or_when() -> None:
    training = trained(begun(), 2)
    items = pickle.loads(pickle.dumps(items_of(training, POOL)))  # noqa: S301 - our own
    load_instance.cache_clear()
    results = [play_item(item) for item in reversed(items)]
    assert merge(training, results).average.tolist() == trained(training, 3).average.tolist()


def test_training_makes_one_decode_better() -> None:
    """On the programs that it sees; those that it never saw are measured in benchmarks/."""
    start = begun()
    after = trained(start, 40)
    assert start.average.any()
    ratios = []
    for instance in INSTANCES:
        assert instance.seconds(start.network.policy(instance.encoding)) == instance.reference_s
        seconds = instance.seconds(after.network.policy(instance.encoding))
        ratios.append(seconds / instance.reference_s)
    assert np.mean(ratios) < 0.999


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for path in (tmp_path / "bad.safetensors", tmp_path / "missing.safetensors"):
        with pytest.raises(UsageError, match="cannot be read as a checkpoint"):
            load_network(path)


@pytest.mark.parametrize("search", ["evolution", "gumbel", "noise", "none"])
def test_the_solver_gives_legal_plans(search: str) -> None:
    solve = find_solver("rl").solve
    options = Asked(parameters={"search": search, "simulations": 12})
    for _, problem, target, table in CASES[::6]:
        plan = solve(problem, options)
        assert find_violations(plan) == []
        assert score(plan).latency_s <= table.all_slow_s * (1 + 1e-9)
        assert plan == solve(problem, options)


@pytest.mark.parametrize("name", ["rl", "evolution", "noisy-greedy"])
def test_without_time_to_compile_there_is_no_plan_but_the_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    _, problem, target, _ = CASES[0]
    soon = Asked(deadline=time.monotonic() + 5.0)
    with pytest.raises(TimeLimitError, match=f"kernels of {name} .*`ullage warm-up`") as raised:
        solve_with(name, problem, soon)
    assert raised.value.details["needed_s"] == rl.COMPILE_S
    assert not solve_with(name, problem, Asked()).notes  # time enough


def test_auto_goes_on_without_what_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    _, problem, target, _ = CASES[0]
    late = SolverOptions(deadline=time.monotonic() + 5.0, parameters={"members": "rl,greedy"})
    plan = find_solver("auto").solve(problem, target, late)
    assert plan.solver == "greedy"
    assert any("rl found no plan" in note and "ullage warm-up" in note for note in plan.notes)
    alone = SolverOptions(deadline=time.monotonic() + 5.0, parameters={"members": "rl"})
    with pytest.raises(TimeLimitError, match="ullage warm-up"):
        find_solver("auto").solve(problem, target, alone)


def test_the_solver_refuses_parameters_that_make_no_sense() -> None:
    _, problem, target, _ = CASES[0]
    for parameters in ({"search": "luck"}, {"simulations": -1}):
        with pytest.raises(UsageError, match="search is one of"):
            solve_with("rl", problem, Asked(parameters=parameters))


def test_train_writes_a_checkpoint_that_the_solver_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    words = ["train", "squeezenet", "--out", str(out), "--json"]
    assert run([*words, "--steps", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["generations"] == 2
    assert run([*words, "--steps", "3", "--resume", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["generations"] == 3
    lines = [json.loads(line) for line in Path(document["log"]).read_text().splitlines()]
    assert [line["generation"] for line in lines] == [1, 2, 3]
    parameters = ["--param", f"checkpoint={out}", "--param", "simulations=5"]
    assert run(["compile", "squeezenet", "--solver", "rl", *parameters, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]
    assert run(["train", "--out", str(tmp_path / "mine.txt")]) == 2
