"""Decodes: a policy's scores become a plan, counted right."""

import numba
import numpy as np
import pytest

from tests.support.agent import INSTANCES, any_policy
from tests.support.games import CASES
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.mechanics import restart
from ullage.rl_agent.env.plans import assignment_of_game
from ullage.rl_agent.env.state import BUSY_S, RECTANGLES, copy_of, start_of
from ullage.rl_agent.policy.decode import KINDS, LEAST_FALL, decode, is_idle, span_of
from ullage.rl_agent.policy.features import encode
from ullage.rl_agent.policy.players import PASSES, Policy, heuristic
from ullage.rl_agent.policy.trial import ASPECTS, FAILED, LATER, TAKEN, Offer, try_residency
from ullage.rl_agent.training.instances import TrainingInstance
from ullage.solvers.engine.tables import Tables


def test_a_decode_with_addresses_is_a_plan_and_its_score() -> None:
    for seed, problem, instance in CASES:
        rng = np.random.default_rng(seed)
        start = start_of(instance)
        encoding = encode(instance.arrays, start)
        state = copy_of(start)
        policy = any_policy(encoding, rng)
        busy_s = decode(state, start, encoding.moves, *policy, PASSES, True)
        assert state.counts[RECTANGLES] >= (state.last >= 0).sum()
        assert busy_s <= start.total[BUSY_S] * (1 + 1e-9)
        plan = assignment_of_game(problem, instance, state)
        assert find_violations(plan) == []
        assert score(plan).latency_s == pytest.approx(busy_s + instance.overhead_s, rel=1e-9)
        again = decode(state, start, encoding.moves, *policy, PASSES, True)
        assert again == busy_s


def test_a_decode_never_counts_more_live_bytes_than_there_are() -> None:
    for seed, _, instance in CASES:
        start = start_of(instance)
        encoding = encode(instance.arrays, start)
        state = copy_of(start)
        policy = any_policy(encoding, np.random.default_rng(seed))
        loose_s = decode(state, start, encoding.moves, *policy, PASSES, False)
        assert loose_s <= start.total[BUSY_S] * (1 + 1e-9)
        assert (state.load_bytes <= instance.arrays.capacity_bytes).all()
        assert (state.load_bytes >= instance.arrays.workspace_bytes).all()


@numba.njit(_nrt=False)  # type: ignore[untyped-decorator]
def try_candidate(t: Tables, candidate: int, offer: Offer) -> tuple[int, float]:
    """`try_residency` of a candidate, TAKEN where it is idle: Python cannot call kernels itself."""
    if is_idle(t, candidate):
        return TAKEN, 0.0
    first, last = span_of(t, candidate)
    return try_residency(t, first, last, offer, False)


@numba.njit(_nrt=False)  # type: ignore[untyped-decorator]
def begin_anew(t: Tables, start: Tables) -> None:
    """`restart`, from Python."""
    restart(t, start)


def decoded_slowly(instance: TrainingInstance, policy: Policy) -> tuple[float, int]:
    """Busy seconds of a decode, candidate by candidate, and how often one was put back."""
    state, (_, gain_s, room) = instance.state, instance.encoding.moves
    tables, accesses = state.tables, len(instance.arrays.access_segment)
    candidates = instance.encoding.moves.candidates.tolist()
    begin_anew(tables, instance.start.tables)
    scores = dict(enumerate(policy.scores.tolist()))
    failed: list[int] = []
    put_back = 0
    while scores:
        i = max(scores, key=lambda j: (scores[j], -j))
        score = scores.pop(i)
        kind = candidates[i] // accesses
        weights, aspects = policy.state_w[kind], np.zeros(ASPECTS)
        aspects[6] = 1 - (len(scores) + 1) / len(candidates)
        aspects[7] = state.total[BUSY_S] / instance.start.total[BUSY_S]
        least = -np.inf
        if weights.any() and scores:
            least = min(max(scores.values()), score - LEAST_FALL) - policy.scores[i]
        offer = Offer(float(gain_s[i]), float(room[i]), least, weights, aspects)
        outcome, worth = try_candidate(tables, candidates[i], offer)
        if outcome == LATER:
            scores[i] = policy.scores[i] + worth
            put_back += 1
        elif outcome == FAILED:
            failed.append(candidates[i])
    offer = Offer(0.0, 0.0, -np.inf, policy.state_w[0], np.zeros(ASPECTS))
    for candidate in failed:
        try_candidate(tables, candidate, offer)
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
