"""The allocation game: compiled and plain rules agree, every game ends in a plan, returns count."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.support.game_twin import DROP, NOCOPY, Twin
from tests.support.games import CASES
from tests.support.solving import solve_with
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game import GAME_ID, MallocGame
from ullage.rl_agent.env.state import BUSY_S, REWINDS, copy_of, start_of
from ullage.rl_agent.env.turns import begin, step
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


def test_cases_are_of_use() -> None:
    assert len(CASES) >= 40
    assert any(problem.target.dma_steps.between for _, problem, _ in CASES)
    assert any(not problem.target.dma_steps.between for _, problem, _ in CASES)


def test_a_step_before_the_first_reset_is_refused() -> None:
    game = MallocGame()
    with pytest.raises(gymnasium.error.ResetNeeded, match="no game has begun"):
        game.step(0)
    game.reset()
    game.step(0)


def test_compiled_and_plain_rules_agree() -> None:
    """Masks, latency and rewinds after every move, whatever is played."""
    rewinds = moves = 0
    for seed, _, instance in CASES:
        rng = np.random.default_rng(seed)
        start = start_of(instance)
        state = copy_of(start)
        mask = np.zeros(3, dtype=np.bool_)
        begin(state, start, mask)
        twin = Twin(instance)
        habit = rng.dirichlet((1.0, 1.0, 1.0))
        done = False
        while not done:
            assert mask.tolist() == twin.mask(), seed
            odds = habit * mask
            action = int(rng.choice(3, p=odds / odds.sum()))
            done = bool(step(state, start, action, mask))
            assert done == twin.step(action)
            moves += 1
            slack_s = 1e-9 * instance.all_slow_s
            assert state.total[BUSY_S] == pytest.approx(twin.total_s(), abs=slack_s), seed
        assert state.counts[REWINDS] == twin.rewinds
        rewinds += twin.rewinds
    assert rewinds > 0
    assert moves > 1000


def test_compiled_and_plain_rules_agree_on_thousands_of_short_games() -> None:
    """What is played at the end of a game and its latency, over many policies."""
    short = [instance for _, _, instance in CASES if len(instance.arrays.access_segment) <= 20]
    games = 0
    for number in range(2000):
        instance = short[number % len(short)]
        rng = np.random.default_rng(number)
        start = start_of(instance)
        state = copy_of(start)
        mask = np.zeros(3, dtype=np.bool_)
        begin(state, start, mask)
        twin = Twin(instance)
        done = False
        while not done:
            assert mask.tolist() == twin.mask(), number
            action = int(rng.choice(np.flatnonzero(mask)))
            done = bool(step(state, start, action, mask))
            assert done == twin.step(action), number
        assert state.counts[REWINDS] == twin.rewinds
        slack_s = 1e-9 * instance.all_slow_s
        assert state.total[BUSY_S] == pytest.approx(twin.total_s(), abs=slack_s), number
        games += 1
    assert games == 2000


def play(game: MallocGame, seed: int) -> tuple[float, list[int]]:
    """A random game; its return and actions."""
    rng = np.random.default_rng(seed)
    _, info = game.reset(seed=seed)
    habit = rng.dirichlet((1.0, 1.0, 1.0))
    total, actions, over = 0.0, [], False
    while not over:
        odds = habit * info["action_mask"]
        action = int(rng.choice(3, p=odds / odds.sum()))
        observation, reward, over, truncated, info = game.step(action)
        assert not truncated
        assert game.observation_space.contains(observation)
        total += reward
        actions.append(action)
    return total, actions


@pytest.mark.parametrize("policy_seed", [1, 2])
def test_every_game_ends_in_a_legal_plan_whose_score_is_the_return(policy_seed: int) -> None:
    for seed, problem, _ in CASES:
        game = MallocGame(problem=problem)
        total, actions = play(game, seed + policy_seed)
        plan = game.plan()
        assert find_violations(plan) == []
        slow_s = score(everything_dropped(problem)).latency_s
        assert game.all_slow_s == pytest.approx(slow_s, rel=1e-12)
        latency_s = score(plan).latency_s
        assert game.latency_s == pytest.approx(latency_s, rel=1e-9)
        assert total == pytest.approx((slow_s - latency_s) / slow_s, abs=1e-9)
        assert play(game, seed + policy_seed) == (total, actions)


def everything_dropped(problem: Problem) -> Assignment:
    """The plan of `all-slow`, in one hop between home and the fastest tier."""
    segments = segments_of(problem)
    residency_state = ResidencyState(problem, segments)
    place_residencies(residency_state)
    residencies = [residency for _, _, residency in residency_state.all_residencies()]
    return assemble(problem, segments, residencies)


def test_dropping_everything_is_all_slow() -> None:
    _, problem, _ = next(case for case in CASES if len(case[1].target.tiers) == 2)
    game = MallocGame(problem=problem)
    game.reset()
    over = False
    while not over:
        assert game.action_masks()[DROP]
        _, reward, over, _, _ = game.step(DROP)
        assert reward == 0.0
    assert game.plan().transfers == solve_with("all-slow", problem).transfers


def test_masked_actions_are_rejected() -> None:
    _, problem, _ = CASES[0]
    game = MallocGame(problem=problem)
    before, info = game.reset()
    masked = int(np.flatnonzero(info["action_mask"] == 0)[0])
    for _ in range(4 * game.uses):
        after, reward, over, truncated, info = game.step(masked)
        assert (reward, over, truncated, info["rejected"]) == (0.0, False, False, True)
        assert all(np.array_equal(before[key], after[key]) for key in before)
    assert game.step(masked)[3]
    assert game.step(7)[4]["rejected"]
    with pytest.raises(UsageError, match="not over"):
        game.plan()


@pytest.mark.parametrize("action", ["x", None, 1.0, np.float32(1), np.nan, True, [0, 1], 10**30])
def test_actions_that_are_no_whole_numbers_are_refused(action: Any) -> None:
    game = MallocGame(problem=CASES[0][1])
    _, info = game.reset()
    with pytest.raises(UsageError, match=r"an action is 0 \(COPY\), 1 \(NOCOPY\) or 2 \(DROP\)"):
        game.step(action)
    assert game.step(np.array([DROP]))[4].keys() >= info.keys()  # as vector environments may


def test_gymnasium_accepts_the_game() -> None:
    game = gymnasium.make(
        GAME_ID, model="squeezenet", target="edge-npu", fast_memory="128KiB", dtype="int8"
    )
    check_env(game.unwrapped, skip_render_check=True)
    assert game.action_space.n == 3  # type: ignore[attr-defined]


def test_a_game_needs_no_options() -> None:
    assert MallocGame().problem.name == MallocGame("squeezenet").problem.name


def test_gymnasium_makes_the_game_by_the_name_of_its_module() -> None:
    """In a process that has imported nothing of ours: what the module registers is enough."""
    made = f"gymnasium.make('ullage.rl_agent.env.game:{GAME_ID}').reset()[1]['latency_s']"
    done = subprocess.run(
        [sys.executable, "-c", f"import gymnasium; print({made})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) > 0


def test_pictures_show_what_is_in_memory() -> None:
    options = {"fast_memory": "256KiB", "dtype": "int8"}
    game = MallocGame("squeezenet", render_mode="ansi", **options)  # type: ignore[arg-type]
    image = MallocGame("squeezenet", render_mode="rgb_array", **options)  # type: ignore[arg-type]
    for played in (game, image):
        _, info = played.reset()
        while not info["action_mask"][NOCOPY]:
            _, _, _, _, info = played.step(DROP)
        played.step(NOCOPY)
    text, picture = game.render(), image.render()
    assert isinstance(text, str)
    assert any(shade in text for shade in ".:-=+*#%@")
    assert "^" in text
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (256, 512, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 3
    assert MallocGame("squeezenet", **options).render() is None  # type: ignore[arg-type]


def test_options_that_make_no_sense_are_refused() -> None:
    _, problem, _ = CASES[0]
    with pytest.raises(UsageError, match="render_mode"):
        MallocGame("squeezenet", render_mode="human")
    with pytest.raises(UsageError, match="built for"):
        MallocGame(problem=problem, target="edge-npu")
    with pytest.raises(UsageError, match="would not count"):
        MallocGame("squeezenet", problem=problem)
    with pytest.raises(UsageError, match="would not count"):
        MallocGame(problem=problem, order="memory")


@pytest.mark.parametrize(
    "options",
    [
        {"target": 5},
        {"target": ""},
        {"model": 5},
        {"problem": "squeezenet"},
        {"fast_memory": 1.5},
        {"fast_memory": -5},
        {"dtype": "int9"},
        {"dtype": np.int8},
        {"overrides": {"split_operands": False}},
        {"overrides": "split_operands=false"},
        {"batch": 0},
        {"order": None},
    ],
)
def test_options_of_other_types_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MallocGame(**options)
