"""`MallocGame`: the allocation game as a Gymnasium environment.

Importing this module registers `ullage/MallocGame-v0`, and so does naming it:
`gymnasium.make("ullage.rl_agent.env.game:ullage/MallocGame-v0")`. Gymnasium 1.0 dropped the plugins
that were found without either.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import game_instance_of
from ullage.rl_agent.env.given import action_number, prepared_for, unit_box
from ullage.rl_agent.env.observe import (
    BANDWIDTH_ROWS,
    OBSERVATION_SIZE,
    OBSERVED_STEPS,
    USE_FEATURES,
)
from ullage.rl_agent.env.plans import assignment_of_game, residencies_of
from ullage.rl_agent.env.render import as_picture, as_text
from ullage.rl_agent.env.rules import ACTIONS
from ullage.rl_agent.env.state import (
    ADDRESS_CELLS,
    BUSY_S,
    CURSOR,
    REWINDS,
    copy_of,
    start_of,
)
from ullage.rl_agent.env.turns import begin, observe, step_and_see

if TYPE_CHECKING:
    import onnx

GAME_ID = "ullage/MallocGame-v0"
# Played without a model or a problem: small, and in the onnx wheel.
DEFAULT_MODEL = "squeezenet"
# Rejected actions per use of the program after which an episode is truncated.
PATIENCE = 4

Observation = dict[str, NDArray[np.float32]]


class MallocGame(gymnasium.Env[Observation, np.int64]):
    """For each use of a tensor, in program order: COPY (0), NOCOPY (1) or DROP (2).

    Reward is the latency saved by the decision over that of `all-slow`, so the return of an
    episode is (all-slow - plan) / all-slow by the cost model. `plan()` is the plan.

    An action that the mask forbids is rejected: nothing changes, the reward is 0, and
    `info["rejected"]` is true. After 4 of them per use of the program the episode is truncated.

    Observations are `map` (16, 32): the share of each sixteenth of fast memory that is taken, from
    24 steps before the current one to 7 behind it; `bandwidth` (3, 32): idle copy bandwidth up
    and down, and time by step; `use` (20,): the current use, its last three values the mask. All
    are in [0, 1].
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as the base class declares it
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 10,
    }

    def __init__(  # noqa: PLR0913 - options of gymnasium.make, all named
        self,
        model: "str | Path | onnx.ModelProto | None" = None,
        target: str | None = None,
        *,
        problem: Problem | None = None,
        fast_memory: int | str | None = None,
        dtype: str | None = None,
        order: str = "model",
        batch: int | None = None,
        overrides: dict[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Read the program and set up its game.

        Args:
            model: an .onnx file, a name (`ullage models list`) or a loaded model; `squeezenet`
                where neither a model nor a problem is given.
            target: name or file of a target; default edge-npu.
            problem: instead of a model and a target, a problem, which has a target of its own.
            fast_memory: capacity of the fastest tier: 262144, "256KiB".
            dtype: plan floating-point tensors as this type.
            order: operator order, `model` or `memory`.
            batch: value of symbolic first dimensions.
            overrides: target fields: {"split_operands": "false"} plays with whole tensors.
            render_mode: `ansi` or `rgb_array`.

        Raises:
            InfeasibleError: no legal plan exists.
            ModelError: the model cannot be read.
            UsageError: an option is wrong, or there is nothing to decide.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise UsageError(f"render_mode is ansi or rgb_array, not {render_mode!r}")
        self.render_mode = render_mode
        if problem is None:
            problem = prepared_for(
                DEFAULT_MODEL if model is None else model,
                target,
                fast_memory,
                dtype=dtype,
                order=order,
                batch=batch,
                overrides=overrides,
            ).problem
        elif not isinstance(problem, Problem):
            raise UsageError(f"problem is an ullage Problem, not {problem!r:.80}")
        elif (model, target, fast_memory, dtype, batch, overrides) != (None,) * 6 or (
            order != "model"
        ):
            raise UsageError(
                f"the problem is built for {problem.target.name}; a model, a target, an order or "
                "changes of them beside it would not count"
            )
        chip = problem.target
        self.problem, self.target = problem, chip
        self._instance = game_instance_of(problem)
        if not len(self._instance.arrays.access_segment):
            raise UsageError(
                f"nothing to decide: every tensor of {problem.name} lives in {chip.fastest.name}; "
                "choose a target with a slower memory"
            )
        self._start = start_of(self._instance)
        self._state = copy_of(self._start)
        self._mask = np.zeros(ACTIONS, dtype=np.bool_)
        self._rejected = 0
        self._begun = False
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        boxes: dict[str, gymnasium.Space[Any]] = {
            "map": unit_box(ADDRESS_CELLS, OBSERVED_STEPS),
            "bandwidth": unit_box(BANDWIDTH_ROWS, OBSERVED_STEPS),
            "use": unit_box(USE_FEATURES),
        }
        space = gymnasium.spaces.Dict(boxes)
        self.observation_space = cast("gymnasium.Space[Observation]", space)

    @property
    def uses(self) -> int:
        """Number of uses to decide about."""
        return len(self._state.actions)

    @property
    def all_slow_s(self) -> float:
        """Latency of the plan in which everything is dropped."""
        return self._instance.all_slow_s

    @property
    def latency_s(self) -> float:
        """Latency of the decisions so far; what is undecided counts as dropped."""
        return float(self._state.total[BUSY_S]) + self._instance.overhead_s

    def action_masks(self) -> NDArray[np.bool_]:
        """(3,) which of COPY, NOCOPY and DROP are legal now (the name that SB3-contrib wants)."""
        return self._mask.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new game. Nothing in it is random."""
        super().reset(seed=seed, options=options)
        begin(self._state, self._start, self._mask)
        self._rejected = 0
        self._begun = True
        return self._observe(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decide about the current use.

        Raises:
            UsageError: the action is no whole number.
            ResetNeeded: no game has begun.
        """
        if not self._begun:
            raise gymnasium.error.ResetNeeded("no game has begun; call reset() before step()")
        number = action_number(action, "0 (COPY), 1 (NOCOPY) or 2 (DROP)")
        if not 0 <= number < ACTIONS or not self._mask[number]:
            self._rejected += 1
            over = self._rejected > PATIENCE * self.uses
            return self._observe(), 0.0, False, over, {**self._info(), "rejected": True}
        before = float(self._state.total[BUSY_S])
        observation = np.empty(OBSERVATION_SIZE, dtype=np.float32)
        is_over = step_and_see(self._state, self._start, number, self._mask, observation)
        saved = before - float(self._state.total[BUSY_S])
        reward = saved / self.all_slow_s if self.all_slow_s > 0 else 0.0
        return _parts(observation), reward, bool(is_over), False, self._info()

    def plan(self) -> Plan:
        """The plan of a finished game.

        Where several links join the same tiers, the game is played with one of their bandwidths
        together, and the plan gives every transfer its link: its latency may be a little higher.

        Raises:
            UsageError: uses are left undecided.
        """
        left = self.uses - int(self._state.counts[CURSOR])
        if left:
            raise UsageError(f"the game is not over: {left} uses are undecided; step on")
        decided = assignment_of_game(self.problem, self._instance, self._state)
        return Plan(self.problem, decided.residencies, decided.transfers, solver="game")

    def render(self) -> str | NDArray[np.uint8] | None:
        """The memory map: addresses upwards, steps to the right."""
        if self.render_mode is None:
            return None
        arrays, state = self._instance.arrays, self._state
        now = -1
        if state.counts[CURSOR] < self.uses:
            now = int(arrays.access_step[arrays.program_order[state.counts[CURSOR]]])
        if self.render_mode == "ansi":
            return as_text(arrays, state, now)
        residencies = [residency for _, _, residency in residencies_of(self._instance, state)]
        sizes = [segment.size_bytes for segment in self._instance.segments]
        return as_picture(residencies, sizes, len(arrays.compute_s), arrays.capacity_bytes, now)

    def _observe(self) -> Observation:
        observation = np.empty(OBSERVATION_SIZE, dtype=np.float32)
        observe(self._state, self._mask, observation)
        return _parts(observation)

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._mask.astype(np.int8),
            "latency_s": self.latency_s,
            "rewinds": int(self._state.counts[REWINDS]),
        }


def _parts(observation: NDArray[np.float32]) -> Observation:
    cells = ADDRESS_CELLS * OBSERVED_STEPS
    rows = cells + BANDWIDTH_ROWS * OBSERVED_STEPS
    return {
        "map": observation[:cells].reshape(ADDRESS_CELLS, OBSERVED_STEPS),
        "bandwidth": observation[cells:rows].reshape(BANDWIDTH_ROWS, OBSERVED_STEPS),
        "use": observation[rows:],
    }


gymnasium.register(id=GAME_ID, entry_point="ullage.rl_agent.env.game:MallocGame")
