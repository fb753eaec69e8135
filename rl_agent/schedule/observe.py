"""What a player of the schedule game sees, as arrays in [0, 1]."""

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.schedule.rules import CLOSED, CURSOR, FIRST, OVER, GameState
from ullage.rl_agent.schedule.tables import ACTIONS, EXTEND, GroupArrays, ScheduleInstance
from ullage.solvers.scheduling.cascade.estimate import LONGEST

Floats32 = NDArray[np.float32]
# Operators that are seen: so many before the cursor, the rest behind it.
SEEN, SEEN_BEFORE = 32, 16
# What is seen of each: computing and weights as times over the mean of all operators, operands, and
# what is live behind it, over the memory, whether it can be cut, whether it is in the running
# group, whether it is there at all.
OPERATOR_FEATURES = 8
# What is seen of each way to close the running group: its own time over that of whole operators,
# line buffers and halos over the memory, weights over the memory, whether it is legal.
CLOSE_FEATURES = 4
# What is seen of the target and of the game: memory over what is live at most, computing over
# transfers of all weights, rates of both memories and of computing (logarithms), place of the
# cursor, what is closed so far over whole operators, operators of the running group.
TARGET_FEATURES = 8
# Logarithms to the base of 10 of a rate that stand for 0 and 1.
LEAST_RATE, MOST_RATE = 6.0, 15.0


def half_of_one(value: Floats | float) -> Floats:
    """A ratio from 0 to infinity as x / (1 + x): 1 is the middle."""
    ratio = np.asarray(value, dtype=np.float64)
    return np.asarray(ratio / (1.0 + ratio))


class View:
    """What does not change during a game, and how to see the rest."""

    def __init__(self, instance: ScheduleInstance) -> None:
        """Prepare the features of operators, groups and target."""
        self._instance = instance
        facts, target, arrays = instance.facts, instance.task.target, instance.arrays
        capacity = float(target.fastest.capacity_bytes)
        count = instance.operators
        rows = np.zeros((count, OPERATOR_FEATURES), dtype=np.float32)
        compute = np.array(facts.compute_s)
        weight_s, operands = np.zeros(count), np.zeros((count, 2))
        for place in range(count):
            operator = facts.operator(place)
            for name in dict.fromkeys((*operator.inputs, *operator.outputs)):
                if facts.graph.values[name].kind == "weight":
                    weight_s[place] += facts.size(name) * facts.seconds_per_byte
                else:
                    operands[place, int(name in operator.outputs)] += facts.size(name)
            rows[place, 5] = operator.reach is not None
        mean_s = max(float((compute + weight_s).mean()), 1e-30)
        rows[:, 0] = half_of_one(compute / mean_s)
        rows[:, 1] = half_of_one(weight_s / mean_s)
        rows[:, 2:4] = half_of_one(operands / capacity)
        rows[:, 4] = half_of_one(arrays.crossing_bytes[1 : count + 1] / capacity)
        rows[:, 7] = 1.0
        self._operators = rows
        self._whole_s = max(float(instance.whole_s.sum()), 1e-30)
        kept = np.array([group.kept_bytes for group in instance.groups])
        weights = np.array([float(group.weight_bytes) for group in instance.groups])
        self._closes = np.stack(
            [np.zeros(len(kept)), half_of_one(kept / capacity), half_of_one(weights / capacity)], 1
        ).astype(np.float32)
        rates = (
            target.fastest.read_bytes_per_s,
            target.tiers[1].read_bytes_per_s,
            max(target.compute.macs_per_s.values()),
        )
        logs = (np.log10(np.array(rates)) - LEAST_RATE) / (MOST_RATE - LEAST_RATE)
        live = max(1.0, float(arrays.crossing_bytes.max()))
        totals = [capacity / live, float(compute.sum()) / max(float(weight_s.sum()), 1e-30)]
        self._target = np.concatenate([half_of_one(np.array(totals)), logs.clip(0.0, 1.0)])

    def of(self, state: GameState) -> dict[str, Floats32]:
        """The observation of a state."""
        arrays, counts = self._instance.arrays, state.counts
        cursor, first = int(counts[CURSOR]), int(counts[FIRST])
        operators = np.zeros((SEEN, OPERATOR_FEATURES), dtype=np.float32)
        begin = cursor - SEEN_BEFORE
        low, high = max(0, begin), min(self._instance.operators, begin + SEEN)
        operators[low - begin : high - begin] = self._operators[low:high]
        if not counts[OVER]:
            running = slice(max(first, low) - begin, cursor - begin)
            operators[running, 6] = 1.0
        closes = np.zeros((ACTIONS - 1, CLOSE_FEATURES), dtype=np.float32)
        length = cursor - first
        if not counts[OVER] and length <= LONGEST:
            closes[:] = self._of_closes(arrays, state, cursor, length)
        game = [
            cursor / self._instance.operators,
            float(half_of_one(float(state.seconds[0]) / self._whole_s)),
            min(1.0, length / LONGEST),
        ]
        target = np.concatenate([self._target, game]).astype(np.float32)
        return {"operators": operators, "closes": closes, "target": target}

    def _of_closes(
        self, arrays: GroupArrays, state: GameState, cursor: int, length: int
    ) -> Floats32:
        """(ACTIONS - 1, CLOSE_FEATURES) what each way to close the running group is like."""
        rows = arrays.row_of[cursor, length, EXTEND + 1 :]
        whole_s = max(float(self._instance.whole_s[cursor - length : cursor].sum()), 1e-30)
        seen = np.zeros((len(rows), CLOSE_FEATURES), dtype=np.float32)
        legal = np.flatnonzero(state.mask[EXTEND + 1 :])
        seen[legal, :3] = self._closes[rows[legal]]
        seen[legal, 0] = half_of_one(arrays.own_s[rows[legal]] / whole_s)
        seen[legal, 3] = 1.0
        return seen


def closed_rows(state: GameState) -> list[int]:
    """Rows of the groups that are closed."""
    return [int(row) for row in state.rows[: state.counts[CLOSED]]]
