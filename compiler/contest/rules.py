"""The rules of the MLSys 2026 scheduling contest: whether a solution is valid, and its cost.

A subgraph computes its outputs tile by tile. A tile takes one step, or `steps` of them where the
sums of its MatMuls are cut along their depth K, and a step takes the longer of its computing and
its transfers. What is loaded stays until the same tensor is loaded for another place, so a strip
of an operand serves consecutive tiles. Tensors between operators of a subgraph cost nothing and
take no room. This is the "full-K" reading: a MatMul is charged for the whole depth, whatever part
of its result a tile needs. The strict reading refuses, besides, a MatMul whose result reaches
another one through Pointwise operators of the same subgraph.

What an operand of a MatMul occupies depends on the MatMul's part in a chain: its result goes
straight into another MatMul of the subgraph (it feeds), its operand comes straight from one (it is
fed), both, or neither. Nothing here is shared with the solver but the instance. Every tile is
visited: no closed form, no assumption about its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.contest.instance import Instance
from ullage.compiler.contest.solution import Subgraph

# Steps of one subgraph that are visited at most.
MAX_STEPS = 4_000_000

_Integers = NDArray[np.int64]

# Shapes of the parts of operands that are held: rows and columns, each the tile's, the whole
# depth, or a step of the depth.
_TILE, _DEPTH, _STEP = "tile", "depth", "step"


@dataclass(frozen=True)
class Evaluation:
    """The cost of a valid solution.

    Attributes:
        cost: in the contest's unit of time.
        latencies: of each subgraph.
    """

    cost: float
    latencies: tuple[float, ...]


class _Load(NamedTuple):
    """An operand that comes from slow memory, and what part of it a step needs.

    Attributes:
        tensor: the tensor.
        operator: who reads it.
        rows: `_TILE`, `_DEPTH` or `_STEP`.
        columns: the same.
        first_step_only: it is loaded in the first step of a tile.
    """

    tensor: int
    operator: int
    rows: str
    columns: str
    first_step_only: bool


class _Refusal:
    """Raises the error of a broken rule of one subgraph."""

    def __init__(self, subgraph: int) -> None:
        self._subgraph = subgraph

    def __call__(self, rule: str, what: str) -> NoReturn:
        raise VerificationError(
            f"subgraph {self._subgraph}: {what} (rule: {rule})",
            {"subgraph": self._subgraph, "rule": rule},
        )


def evaluate(
    instance: Instance, solution: Sequence[Subgraph], *, strict: bool = False
) -> Evaluation:
    """The cost of a solution.

    Args:
        instance: the instance.
        solution: subgraphs in the order in which they run.
        strict: by the strict reading.

    Raises:
        VerificationError: it breaks a rule; the message and the details name the subgraph and the
            rule.
    """
    _check_numbers(instance, solution)
    runs_in: list[set[int]] = [set() for _ in instance.inputs]
    for number, subgraph in enumerate(solution):
        for operator in subgraph.operators:
            runs_in[operator].add(number)
    for operator, runs in enumerate(runs_in):
        if not runs:
            _Refusal(len(solution))("coverage", f"operator {operator} runs in no subgraph")
    in_slow = {t for t, operator in enumerate(instance.producer) if operator < 0}
    entering: frozenset[int] = frozenset()
    latencies = []
    for number, subgraph in enumerate(solution):
        refuse = _Refusal(number)
        part = _Part(instance, subgraph, entering, refuse)
        part.check_order(in_slow)
        part.check_escapes(runs_in, solution)
        if strict:
            part.check_strict()
        latencies.append(part.latency())
        in_slow |= set(part.stored)
        entering = frozenset(subgraph.retained)
    return Evaluation(sum(latencies), tuple(latencies))


def _check_numbers(instance: Instance, solution: Sequence[Subgraph]) -> None:
    """Refuse operators, tensors and sizes that do not exist."""
    for number, subgraph in enumerate(solution):
        refuse = _Refusal(number)
        for operator in subgraph.operators:
            if not 0 <= operator < len(instance.inputs):
                refuse("numbers", f"there is no operator {operator}")
        for tensor in subgraph.retained:
            if not 0 <= tensor < len(instance.widths):
                refuse("numbers", f"there is no tensor {tensor}")
        if min(subgraph.granularity) < 1:
            refuse("granularity", f"granularity {list(subgraph.granularity)} is not positive")


class _Part:
    """A subgraph of a solution under the rules.

    Attributes:
        stored: outputs that go to slow memory.
    """

    def __init__(
        self, instance: Instance, subgraph: Subgraph, entering: frozenset[int], refuse: _Refusal
    ) -> None:
        self._i, self._subgraph = instance, subgraph
        self._entering, self._refuse = entering, refuse
        self._operators = subgraph.operators
        self._members = members = set(subgraph.operators)
        if len(members) < len(self._operators):
            refuse("order", "an operator stands twice in it")
        self._retained = set(subgraph.retained)
        for tensor in subgraph.retained:
            if instance.producer[tensor] not in members or not instance.readers[tensor]:
                refuse(
                    "retention",
                    f"tensor {tensor} is retained, and is not an output of it that others read",
                )
        outputs = [t for operator in self._operators for t in instance.outputs[operator]]
        self._inner = {
            t
            for t in outputs
            if t not in self._retained and any(r in members for r in instance.readers[t])
        }
        self._outer = [t for t in outputs if t not in self._inner]
        self.stored = [t for t in self._outer if t not in self._retained]
        shapes = {(instance.widths[t], instance.heights[t]) for t in self._outer}
        if not shapes:
            refuse("outputs", "nothing leaves it")
        if len(shapes) > 1:
            refuse("outputs", f"outputs that leave it have {len(shapes)} shapes; all have one")
        self._width, self._height = shapes.pop()
        self._matmuls = [o for o in self._operators if instance.is_matmul[o]]
        self._find_chains()

    def _find_chains(self) -> None:
        """Which MatMuls feed which operand of others, and the depths that steps go by."""
        instance, inner = self._i, self._inner
        self._fed: dict[int, set[int]] = {o: set() for o in self._matmuls}
        self._feeds: dict[int, set[int]] = {o: set() for o in self._matmuls}
        for reader in self._matmuls:
            for side, tensor in enumerate(instance.inputs[reader]):
                producer = instance.producer[tensor]
                if tensor in inner and instance.is_matmul[producer]:
                    self._fed[reader].add(side)
                    self._feeds[producer].add(side)
        for operator in self._matmuls:
            if len(self._feeds[operator]) > 1:
                self._refuse(
                    "chain", f"MatMul {operator} feeds left and right operands of others in it"
                )
        depths = [instance.depth(o) for o in self._matmuls]
        tails = [o for o in self._matmuls if self._fed[o] and not self._feeds[o]]
        heads = [o for o in self._matmuls if self._feeds[o] and not self._fed[o]]
        self._middles = [o for o in self._matmuls if self._feeds[o] and self._fed[o]]
        self._alone = [o for o in self._matmuls if not self._feeds[o] and not self._fed[o]]
        self._heads, self._tails = heads, tails
        # Steps cut the sums of the last MatMul of a chain, or else the deepest.
        self._cut = instance.depth(tails[-1]) if tails else max(depths, default=0)
        self._head_depth = instance.depth(heads[-1]) if heads else 0

    def check_order(self, in_slow: set[int]) -> None:
        """Every operand exists when it is read."""
        place = {operator: n for n, operator in enumerate(self._operators)}
        for operator in self._operators:
            for tensor in self._i.inputs[operator]:
                producer = self._i.producer[tensor]
                if producer in place:
                    if place[producer] >= place[operator]:
                        self._refuse("order", f"operator {operator} stands before {producer}")
                elif tensor not in in_slow and tensor not in self._entering:
                    self._refuse(
                        "operands",
                        f"operator {operator} reads tensor {tensor}, which is neither in slow "
                        "memory nor retained",
                    )

    def check_escapes(self, runs_in: Sequence[set[int]], solution: Sequence[Subgraph]) -> None:
        """Whoever else reads a tensor that never leaves a subgraph computes it again."""
        for tensor in self._inner:
            producer = self._i.producer[tensor]
            for reader in self._i.readers[tensor]:
                if reader in self._members:
                    continue
                if not any(producer in solution[n].operators for n in runs_in[reader]):
                    self._refuse(
                        "recomputation",
                        f"tensor {tensor} never leaves it, and operator {reader} reads it "
                        "elsewhere",
                    )

    def check_strict(self) -> None:
        """No MatMul's result reaches another MatMul through Pointwise operators."""
        instance = self._i
        carries: dict[int, int] = {}  # tensor behind a Pointwise operator -> the MatMul before it
        for operator in self._operators:
            for tensor in instance.inputs[operator]:
                producer = instance.producer[tensor]
                if producer not in self._members:
                    continue
                origin = carries.get(tensor)
                if instance.is_matmul[operator]:
                    if origin is not None:
                        self._refuse(
                            "strict",
                            f"MatMul {origin} reaches MatMul {operator} through Pointwise "
                            "operators",
                        )
                    continue
                if instance.is_matmul[producer]:
                    origin = producer
                if origin is not None:
                    carries.update(dict.fromkeys(instance.outputs[operator], origin))

    def _steps(self) -> int:
        """Steps of a tile; refuses granularities that the rules forbid."""
        instance, refuse = self._i, self._refuse
        width, height, depth = self._subgraph.granularity
        if width > instance.native_width or height > instance.native_height:
            refuse(
                "granularity",
                f"a tile of {width} x {height} is above the native "
                f"{instance.native_width} x {instance.native_height}",
            )
        steps = -(-self._cut // depth) if self._cut else 1
        if steps == 1:
            if (len(self._matmuls) > 2 or self._middles) and (
                width != depth or any(instance.depth(o) != depth for o in self._matmuls)
            ):
                refuse(
                    "chain",
                    "three MatMuls or more need one depth, which is the width of a tile and the "
                    "step",
                )
            return 1
        if self._middles:
            refuse("steps", f"MatMul {self._middles[0]} feeds and is fed, so depth is not cut")
        is_chain = len(self._heads) == len(self._tails) == 1 and not self._alone
        if not is_chain and (self._heads or self._tails or len(self._alone) > 1):
            refuse("steps", "depth is cut for one MatMul, or for one that feeds another")
        self._check_pointwise_operands(width, height)
        return steps

    def _check_pointwise_operands(self, width: int, height: int) -> None:
        """Where depth is cut, a tile holds all that a MatMul reads of a Pointwise operator."""
        for reader in self._matmuls:
            for side, tensor in enumerate(self._i.inputs[reader]):
                producer = self._i.producer[tensor]
                if producer not in self._members or self._i.is_matmul[producer]:
                    continue
                if (height if side else width) < self._i.depth(reader):
                    self._refuse(
                        "steps",
                        f"a tile is smaller than the depth of MatMul {reader}, which reads a "
                        "Pointwise operator of the same subgraph",
                    )

    def _loads(self) -> list[_Load]:
        """Operands from slow memory, in the order in which a step needs them."""
        found = []
        for operator in self._operators:
            for side, tensor in enumerate(self._i.inputs[operator]):
                if tensor in self._entering or tensor in self._inner:
                    continue
                found.append(self._load(operator, side, tensor))
        return found

    def _load(self, operator: int, side: int, tensor: int) -> _Load:
        if not self._i.is_matmul[operator]:
            return _Load(tensor, operator, _TILE, _TILE, first_step_only=True)
        if operator in self._heads:
            fed_side = next(iter(self._feeds[operator]))
            if side == fed_side:  # the strip that all parts of its result need
                rows, columns = (_DEPTH, _TILE) if side else (_TILE, _DEPTH)
                return _Load(tensor, operator, rows, columns, first_step_only=True)
            # the part of its result that a step consumes
            rows, columns = (_DEPTH, _STEP) if side else (_STEP, _DEPTH)
            return _Load(tensor, operator, rows, columns, first_step_only=False)
        rows, columns = (_STEP, _TILE) if side else (_TILE, _STEP)
        return _Load(tensor, operator, rows, columns, first_step_only=False)

    def _working_set(self, loads: Sequence[_Load], steps: int) -> int:
        """Elements of fast memory: what entered, parts of operands, tiles of outputs."""
        width, height, depth = self._subgraph.granularity
        held = sum(self._i.widths[t] * self._i.heights[t] for t in self._entering)
        for load in loads:
            own = self._i.depth(load.operator) if load.operator in self._matmuls else 0
            in_chain = load.operator in self._heads or load.operator in self._tails
            whole = self._head_depth if load.operator in self._heads else own
            cut = min(depth, self._cut) if in_chain else (min(depth, own) if steps > 1 else own)
            rows = {_TILE: height, _DEPTH: whole, _STEP: cut}[load.rows]
            columns = {_TILE: width, _DEPTH: whole, _STEP: cut}[load.columns]
            held += rows * columns
        return held + len(self._outer) * width * height

    def latency(self) -> float:
        """Time of the subgraph, tile by tile and step by step."""
        instance, refuse = self._i, self._refuse
        width, height, depth = self._subgraph.granularity
        steps = self._steps()
        loads = self._loads()
        needed = self._working_set(loads, steps)
        if needed > instance.capacity:
            refuse(
                "capacity",
                f"{needed} elements are needed in fast memory, which has {instance.capacity:g}",
            )
        across, down = -(-self._width // width), -(-self._height // height)
        if across * down * steps > MAX_STEPS:
            refuse("granularity", f"more than {MAX_STEPS} steps; take larger tiles")
        tiles = self._tiles(across * down)
        row = np.repeat(tiles // across, steps)
        column = np.repeat(tiles % across, steps)
        step = np.tile(np.arange(steps), len(tiles))
        size = {
            "rows": np.minimum(height, self._height - row * height),
            "columns": np.minimum(width, self._width - column * width),
        }
        moved = np.zeros(len(step))
        by_tensor: dict[int, list[_Load]] = {}
        for load in loads:
            by_tensor.setdefault(load.tensor, []).append(load)
        for of_tensor in by_tensor.values():
            places: list[_Integers] = []
            sizes: list[_Integers] = []
            needs: list[NDArray[np.bool_]] = []
            for load in of_tensor:
                cut = self._cut_of(load, depth, step, steps)
                whole = self._i.depth(load.operator)
                lengths = {_DEPTH: whole + 0 * step, _STEP: cut}
                rows = lengths.get(load.rows, size["rows"])
                columns = lengths.get(load.columns, size["columns"])
                sizes.append(rows * columns)
                is_cut = _STEP in (load.rows, load.columns)
                # where the part lies: row, column and step of it, 0 where that makes no difference
                places.append(
                    (
                        (row + 1 if load.rows == _TILE else 0 * row) * (across + 1)
                        + (column + 1 if load.columns == _TILE else 0)
                    )
                    * (steps + 1)
                    + (step + 1 if is_cut else 0)
                )
                needs.append((step == 0) | (not load.first_step_only))
            moved += _loaded(np.stack(places, 1), np.stack(sizes, 1), np.stack(needs, 1))
        moved += (step == steps - 1) * (len(self.stored) * size["rows"] * size["columns"])
        busy = self._computing(depth, step)
        return float(np.maximum(busy, moved / float(instance.bandwidth)).sum())

    def _tiles(self, count: int) -> NDArray[np.int64]:
        """Numbers of the tiles in the order in which they are computed."""
        if self._subgraph.traversal is None:
            return np.arange(count)
        tiles = np.array(self._subgraph.traversal, dtype=np.int64)
        if len(tiles) != count or not np.array_equal(np.sort(tiles), np.arange(count)):
            self._refuse("traversal", f"the order of tiles is none of the {count} tiles")
        return tiles

    def _cut_of(self, load: _Load, depth: int, step: _Integers, steps: int) -> _Integers:
        """The depth of each step, for the operator that reads an operand."""
        if self._feeds.get(load.operator) or self._fed.get(load.operator):
            whole = self._cut
        else:
            whole = self._i.depth(load.operator) if load.operator in self._matmuls else 0
            if steps == 1:
                return whole + 0 * step
        return np.minimum(depth, whole - step * depth)

    def _computing(self, depth: int, step: NDArray[np.int64]) -> NDArray[np.float64]:
        """Time of computing of each step: Pointwise operators in the first of a tile."""
        costs = self._i.base_costs
        pointwise = sum(costs[o] for o in self._operators if not self._i.is_matmul[o])
        matmul = sum(costs[o] for o in self._matmuls)
        busy: NDArray[np.float64] = (step == 0) * float(pointwise)
        if self._matmuls and step.max() == 0:
            busy += matmul
        elif self._matmuls:
            busy += matmul * np.minimum(depth, self._cut - step * depth) / self._cut
        return busy


def _loaded(
    places: NDArray[np.int64], sizes: NDArray[np.int64], needs: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Elements of one tensor that each step loads.

    Args:
        places: [steps, uses] which part of the tensor each use needs.
        sizes: [steps, uses] elements of the part.
        needs: [steps, uses] whether it is needed in the step.
    """
    found = np.zeros(places.shape)
    wanted = places[needs]  # in the order of steps, then of uses
    is_new = np.ones(len(wanted), dtype=bool)
    is_new[1:] = wanted[1:] != wanted[:-1]
    found[needs] = is_new * sizes[needs]
    total: NDArray[np.float64] = found.sum(axis=1)
    return total
