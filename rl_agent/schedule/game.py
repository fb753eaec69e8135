"""`ScheduleGame`: the schedule game as a Gymnasium environment.

Importing this module registers `ullage/ScheduleGame-v0`, and so does naming it:
`gymnasium.make("ullage.rl_agent.schedule.game:ullage/ScheduleGame-v0")`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.schedule import Schedule
from ullage.rl_agent.env.given import action_number, prepared_for, unit_box
from ullage.rl_agent.schedule.observe import (
    CLOSE_FEATURES,
    OPERATOR_FEATURES,
    SEEN,
    TARGET_FEATURES,
    Floats32,
    View,
    closed_rows,
)
from ullage.rl_agent.schedule.prepared import prepared_task
from ullage.rl_agent.schedule.rules import (
    CURSOR,
    FIRST,
    OVER,
    begin_game,
    forbid,
    play,
    state_of,
)
from ullage.rl_agent.schedule.tables import ACTIONS, EXTEND, instance_of
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask, schedule_of

if TYPE_CHECKING:
    import onnx

GAME_ID = "ullage/ScheduleGame-v0"
# Played without a model or a task: small, and in the onnx wheel.
DEFAULT_MODEL = "squeezenet"
# What the return is measured by.
ESTIMATE, LP = "estimate", "lp"
# Rejected actions per operator after which an episode is truncated.
PATIENCE = 4
# What actions there are, for errors.
ACTIONS_TEXT = f"a number from 0 to {ACTIONS - 1}"

Observation = dict[str, Floats32]


class ScheduleGame(gymnasium.Env[Observation, np.int64]):
    """A cursor walks the operators in their order; which of them run stripe by stripe together?

    Actions: EXTEND (0) takes the next operator into the running group; all others close the group
    behind the operator at the cursor. WHOLE (1): it is one operator, which runs whole. The others
    are stripes: `2 + 11 * axis + number`, where `axis` counts the axes of the operator's output
    that can be cut (3 is the reduction) and `number` is the place in `STRIPES`. The next operator
    begins a new group. Halos are kept.

    The return of an episode is (whole - schedule) / whole, where whole operators are the schedule
    without tiles. With `judge="estimate"` both are estimates of the dynamic program behind
    `--schedule cascade`, with `judge="lp"` optima of the fluid LP of the schedule; then the reward
    of the last action makes up for the difference.

    An action that the mask forbids is rejected: nothing changes, the reward is 0, and
    `info["rejected"]` is true. So is a group that turns out to be impossible to cut: it is masked
    from then on, and where the running group cannot be closed any more, it begins again with its
    first operator. After 4 rejections per operator the episode is truncated.

    Observations, all in [0, 1]: `operators` (32, 8), 16 of them before the cursor; `closes`
    (45, 4), for each way to close; `target` (8,). `schedule()` is the schedule.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as the base class declares it
        "render_modes": ["ansi"],
        "render_fps": 10,
    }

    def __init__(
        self,
        model: "str | Path | onnx.ModelProto | None" = None,
        target: str | None = None,
        *,
        task: SchedulingTask | None = None,
        fast_memory: int | str | None = None,
        dtype: str | None = None,
        order: str = "model",
        judge: str = ESTIMATE,
        render_mode: str | None = None,
    ) -> None:
        """Read the model and estimate its groups.

        Args:
            model: an .onnx file, a name (`ullage models list`) or a loaded model; `squeezenet`
                where neither a model nor a task is given.
            target: name or file of a target; default edge-npu.
            task: instead of a model and a target, a task of choosing a schedule.
            fast_memory: capacity of the fastest tier: 262144, "256KiB".
            dtype: plan floating-point tensors as this type.
            order: operator order, `model` or `memory`.
            judge: `estimate` or `lp`: what the return is measured by.
            render_mode: `ansi`.

        Raises:
            ModelError: the model cannot be read.
            UsageError: an option is wrong, or there is nothing to decide on this target.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise UsageError(f"render_mode is ansi, not {render_mode!r}")
        if judge not in (ESTIMATE, LP):
            raise UsageError(f"judge is estimate or lp, not {judge!r}")
        self.render_mode = render_mode
        if task is None:
            named = DEFAULT_MODEL if model is None else model
            prepared = prepared_for(named, target, fast_memory, dtype=dtype, order=order)
            task = prepared_task(prepared, prepared.target)
        elif (model, target, fast_memory, dtype) != (None,) * 4 or order != "model":
            raise UsageError(
                f"the task is one of {task.target.name}; a model, a target or an order beside it "
                "would not count"
            )
        self.instance = instance_of(task)
        self._judge = Judge(task, self.instance.facts) if judge == LP else None
        self._view = View(self.instance)
        self._state = state_of(self.instance.arrays)
        self._whole_s = float(self.instance.whole_s.sum())
        self._whole_value: float | None = None
        self._rejected = 0
        self._begun = False
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        boxes: dict[str, gymnasium.Space[Any]] = {
            "operators": unit_box(SEEN, OPERATOR_FEATURES),
            "closes": unit_box(ACTIONS - 1, CLOSE_FEATURES),
            "target": unit_box(TARGET_FEATURES),
        }
        space = gymnasium.spaces.Dict(boxes)
        self.observation_space = cast("gymnasium.Space[Observation]", space)

    def action_masks(self) -> NDArray[np.bool_]:
        """(46,) which actions are legal now (the name that SB3-contrib wants)."""
        return self._state.mask.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new game. Nothing in it is random."""
        super().reset(seed=seed, options=options)
        begin_game(self.instance.arrays, self._state)
        self._rejected, self._begun = 0, True
        return self._view.of(self._state), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Extend the running group, or close it.

        Raises:
            UsageError: the action is no whole number.
            ResetNeeded: no game has begun.
        """
        if not self._begun:
            raise gymnasium.error.ResetNeeded("no game has begun; call reset() before step()")
        number, arrays, state = (
            action_number(action, f"a number from 0 to {ACTIONS - 1}"),
            self.instance.arrays,
            self._state,
        )
        if not 0 <= number < ACTIONS or not state.mask[number]:
            return self._rejection()
        first, cursor = int(state.counts[FIRST]), int(state.counts[CURSOR])
        if number != EXTEND:
            row = int(arrays.row_of[cursor, cursor - first, number])
            if not self._can_be_cut(self.instance.groups[row].cascade):
                forbid(arrays, state, row)
                return self._rejection()
        paid_s = float(play(arrays, state, number))
        reward = 0.0
        if number != EXTEND:
            reward = (float(self.instance.whole_s[first:cursor].sum()) - paid_s) / self._whole_s
        is_over = bool(state.counts[OVER])
        if is_over and self._judge is not None:
            reward += self._lp_return() - (1.0 - float(state.seconds[0]) / self._whole_s)
        return self._view.of(state), reward, is_over, False, self._info()

    def cascades(self) -> tuple[Cascade, ...]:
        """The groups that are closed so far."""
        return self.instance.cascades(closed_rows(self._state))

    def schedule(self) -> Schedule:
        """The schedule of a finished game; plan it by `--schedule FILE` or `task.problem_of`.

        Raises:
            UsageError: operators are left undecided.
        """
        left = self.instance.operators - int(self._state.counts[FIRST])
        if left:
            raise UsageError(f"the game is not over: {left} operators are undecided; step on")
        schedule = schedule_of(self.instance.task, self.instance.facts, self.cascades())
        if schedule is None:  # each group was cut when it was closed
            raise AssertionError("groups that were cut one by one cannot be cut together")
        return schedule

    def render(self) -> str | None:
        """The groups that are closed, and the running one."""
        if self.render_mode is None:
            return None
        facts, state = self.instance.facts, self._state
        lines = []
        for cascade in self.cascades():
            names = [facts.operator(p).name for p in range(cascade.first, cascade.last)]
            cut = f"{cascade.stripes} stripes of axis {cascade.axis}" if cascade.is_cut else "whole"
            lines.append(f"{cut}: {', '.join(names)}")
        if not state.counts[OVER]:
            running = range(int(state.counts[FIRST]), int(state.counts[CURSOR]))
            lines.append(f"running: {', '.join(facts.operator(p).name for p in running)}")
        return "\n".join(lines)

    def _rejection(self) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._rejected += 1
        is_cut_short = self._rejected > PATIENCE * self.instance.operators
        info = {**self._info(), "rejected": True}
        return self._view.of(self._state), 0.0, False, is_cut_short, info

    def _can_be_cut(self, cascade: Cascade) -> bool:
        facts = self.instance.facts
        return cascade_parts(facts.graph, facts.order, cascade, facts.readers) is not None

    def _lp_return(self) -> float:
        """(whole - schedule) / whole by the optima of their LPs; 0 where one has none in time."""
        if self._judge is None:
            raise AssertionError("the return of this game is an estimate")
        if self._whole_value is None:
            singles = [Cascade(p, p + 1) for p in range(self.instance.operators)]
            valued = self._judge.value(singles)
            self._whole_value = None if valued is None else valued.value
        valued = self._judge.value(self.cascades())
        if valued is None or not self._whole_value:
            return 0.0
        return 1.0 - valued.value / self._whole_value

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._state.mask.astype(np.int8),
            "estimate_s": float(self._state.seconds[0]),
            "whole_s": self._whole_s,
        }


gymnasium.register(id=GAME_ID, entry_point="ullage.rl_agent.schedule.game:ScheduleGame")
