"""Small random instances and solutions of the MLSys 2026 contest, and the best by exhaustion."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.contest.instance import Instance, instance_of
from ullage.compiler.contest.rules import _Part, _Refusal, evaluate
from ullage.compiler.contest.solution import Subgraph
from ullage.solvers.contest.tiling import snake


def random_document(
    random: Random, most: int = 5, *, sides: tuple[int, ...] = (4, 6, 8, 12)
) -> Any:
    """The file of an instance with up to so many operators; shapes fit."""
    chosen = [random.choice(sides) for _ in range(2)]
    widths: list[int] = []
    heights: list[int] = []

    def tensor(width: int, height: int) -> int:
        widths.append(width)
        heights.append(height)
        return len(widths) - 1

    tensors = [tensor(random.choice(chosen), random.choice(chosen)) for _ in range(2)]
    inputs, outputs, kinds = [], [], []
    for _ in range(random.randint(2, most)):
        left = random.choice(tensors)
        if random.random() < 0.55:
            fitting = [t for t in tensors if heights[t] == widths[left]]
            if fitting and random.random() < 0.6:
                right = random.choice(fitting)
            else:
                right = tensor(random.choice(chosen), widths[left])
            read = [left, right]
            result = tensor(widths[right], heights[left])
            kinds.append("MatMul")
        else:
            alike = [t for t in tensors if (widths[t], heights[t]) == (widths[left], heights[left])]
            read = [left, *random.sample(alike, min(len(alike), random.randint(0, 2)))]
            result = tensor(widths[left], heights[left])
            kinds.append("Pointwise")
        tensors += [t for t in dict.fromkeys(read) if t not in tensors]
        inputs.append(read)
        outputs.append([result])
        tensors.append(result)
    return {
        "widths": widths,
        "heights": heights,
        "inputs": inputs,
        "outputs": outputs,
        "op_types": kinds,
        "base_costs": [random.randint(1, 200) for _ in kinds],
        "fast_memory_capacity": random.choice([40, 60, 120, 300, 600]),
        "slow_memory_bandwidth": random.choice([1, 3, 7]),
        "native_granularity": random.choice([[4, 4], [8, 8], [5, 7]]),
    }


def random_instance(random: Random, most: int = 5) -> Instance:
    """An instance of `random_document`."""
    return instance_of(random_document(random, most), "random")


def random_solution(random: Random, instance: Instance) -> list[Subgraph]:
    """A solution that may break rules, and often does."""
    waiting, found = list(range(len(instance.inputs))), []
    while waiting:
        group = [waiting.pop(0) for _ in range(min(len(waiting), random.randint(1, 4)))]
        if random.random() < 0.2:
            group = sorted({*group, random.randrange(len(instance.inputs))})
        if random.random() < 0.03:
            random.shuffle(group)
        written = [t for operator in group for t in instance.outputs[operator]]
        retained = random.sample(written, 1) if random.random() < 0.3 else []
        if random.random() < 0.02:
            retained = [random.randrange(len(instance.widths))]
        width, height = random.choice([1, 2, 3, 4, 6, 8]), random.choice([1, 2, 3, 4, 8])
        depth = random.choice([1, 2, 3, 4, 5, 6, 8, 12])
        depths = {instance.depth(operator) for operator in group if instance.is_matmul[operator]}
        if len(depths) == 1 and random.random() < 0.6:
            (depth,) = depths
            width = depth if random.random() < 0.4 else width
        found.append(Subgraph(tuple(group), (width, height, depth), tuple(retained)))
    if random.random() < 0.05:
        found.pop(random.randrange(len(found)))
    return [_shuffled(random, instance, subgraph) for subgraph in found]


def _shuffled(random: Random, instance: Instance, subgraph: Subgraph) -> Subgraph:
    """A subgraph with its tiles in a random order, or in that of their numbers."""
    part = part_of(instance, subgraph, frozenset())
    if part is None or random.random() < 0.4:
        return subgraph
    width, height, _ = subgraph.granularity
    tiles = list(range(-(-part._width // width) * -(-part._height // height)))
    random.shuffle(tiles)
    return Subgraph(subgraph.operators, subgraph.granularity, subgraph.retained, tuple(tiles))


def part_of(instance: Instance, subgraph: Subgraph, entering: frozenset[int]) -> _Part | None:
    """A subgraph under the rules by itself; None where its shape breaks one."""
    try:
        return _Part(instance, subgraph, entering, _Refusal(0))
    except VerificationError:
        return None


def granularities(
    instance: Instance,
    operators: tuple[int, ...],
    retained: tuple[int, ...],
    entering: frozenset[int],
) -> Iterator[tuple[float, Subgraph]]:
    """All granularities of a subgraph that rules allow, with both snakes: (cost, subgraph)."""
    depths = [instance.depth(o) for o in operators if instance.is_matmul[o]]
    ranges = (instance.native_width, instance.native_height, max(depths, default=1))
    for granularity in product(*(range(1, most + 1) for most in ranges)):
        part = part_of(instance, Subgraph(operators, granularity, retained), entering)
        if part is None:
            return
        across, down = -(-part._width // granularity[0]), -(-part._height // granularity[1])
        for by_columns in (False, True):
            tiles = snake(across, down, by_columns=by_columns)
            subgraph = Subgraph(operators, granularity, retained, tiles)
            part = part_of(instance, subgraph, entering)
            try:
                yield part.latency() if part else 0.0, subgraph
            except VerificationError:
                break


def best_by_exhaustion(instance: Instance, *, strict: bool = False) -> float | None:
    """The least cost over all orders, cuts and retentions, nothing computed twice.

    None where nothing is valid.
    """
    known: dict[Any, tuple[float, Subgraph] | None] = {}

    def cheapest(
        operators: tuple[int, ...], retained: tuple[int, ...], entering: frozenset[int]
    ) -> tuple[float, Subgraph] | None:
        key = (operators, retained, entering)
        if key not in known:
            options = granularities(instance, operators, retained, entering)
            known[key] = min(options, key=lambda option: option[0], default=None)
        return known[key]

    best: float | None = None
    for sets in _ordered_partitions(frozenset(range(len(instance.inputs)))):
        cut = [tuple(o for o in instance.order if o in members) for members in sets]
        options = []
        for operators in cut[:-1]:
            written = [t for o in operators for t in instance.outputs[o] if instance.readers[t]]
            options.append(_subsets(sorted(written)))
        for kept in product(*options, [()]):
            solution, cost = [], 0.0
            for number, operators in enumerate(cut):
                entering = frozenset(kept[number - 1]) if number else frozenset()
                found = cheapest(operators, kept[number], entering)
                if found is None:
                    break
                cost += found[0]
                solution.append(found[1])
            if len(solution) < len(cut) or (best is not None and cost >= best):
                continue
            try:
                best = evaluate(instance, solution, strict=strict).cost
            except VerificationError:
                continue
    return best


def _ordered_partitions(items: frozenset[int]) -> Iterator[list[frozenset[int]]]:
    if not items:
        yield []
    for first in _subsets(sorted(items)):
        if first:
            for rest in _ordered_partitions(items - set(first)):
                yield [frozenset(first), *rest]


def _subsets(items: list[int]) -> list[tuple[int, ...]]:
    return [
        tuple(item for place, item in enumerate(items) if mask >> place & 1)
        for mask in range(1 << len(items))
    ]


def write_instance(folder: Path, name: str, document: Any) -> Path:
    """Write an instance; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


# Two MatMuls and what is between them: fusion, retention and steps all matter.
CHAIN = {
    "widths": [16, 16, 16, 16, 16, 16, 16],
    "heights": [16, 16, 16, 16, 16, 16, 16],
    "inputs": [[0, 1], [3], [4, 2], [5, 0]],
    "outputs": [[3], [4], [5], [6]],
    "op_types": ["MatMul", "Pointwise", "MatMul", "Pointwise"],
    "base_costs": [30, 5, 30, 5],
    "fast_memory_capacity": 420,
    "slow_memory_bandwidth": 4,
    "native_granularity": [8, 8],
}
