"""Granularities: closed forms against tile by tile, and the best against all."""

from random import Random

import numpy as np
import pytest

from tests.support.contest import granularities, random_instance
from ullage.compiler.contest.instance import Instance
from ullage.solvers.contest.subgraphs import shape_of
from ullage.solvers.contest.tiling import best_tiling, snake, snake_costs


def question(
    random: Random, instance: Instance
) -> tuple[tuple[int, ...], tuple[int, ...], frozenset[int]]:
    """Operators, what they retain, and what enters."""
    count = len(instance.inputs)
    operators = tuple(sorted(random.sample(range(count), random.randint(1, count))))
    written = [t for operator in operators for t in instance.outputs[operator]]
    retained = tuple(t for t in written if instance.readers[t] and random.random() < 0.2)
    entering = frozenset(
        t
        for t, producer in enumerate(instance.producer)
        if producer >= 0 and t not in written and random.random() < 0.3
    )
    return operators, retained, entering


@pytest.mark.parametrize("seed", range(3))
def test_closed_forms_are_what_the_rules_say_tile_by_tile(seed: int) -> None:
    random, checked, worst = Random(seed), 0, 1.0
    for _ in range(12):
        instance = random_instance(random, 4)
        operators, retained, entering = question(random, instance)
        shape = shape_of(instance, operators, retained, entering)
        found = None if shape is None else best_tiling(instance, shape)
        best = None
        for place, (cost, subgraph) in enumerate(
            granularities(instance, operators, retained, entering)
        ):
            assert shape is not None
            best = cost if best is None else min(best, cost)
            if place % 7:
                continue
            width, height, depth = subgraph.granularity
            is_cut = bool(shape.depth) and depth < shape.depth
            form = shape.cut if is_cut else shape.whole
            assert form is not None
            sides = tuple(np.array([float(side)]) for side in (width, height, depth))
            across, down = -(-shape.width // width), -(-shape.height // height)
            by_columns = subgraph.traversal == snake(across, down, by_columns=True)
            closed = snake_costs(
                shape,
                form.loads,
                (sides[0], sides[1], sides[2]),
                instance.bandwidth,
                is_cut=is_cut,
                by_columns=by_columns,
            )
            assert closed[0] == pytest.approx(cost, rel=1e-9)
            checked += 1
        assert (best is None) == (found is None)
        if best is not None and found is not None:
            assert found.cost >= best * (1 - 1e-9)
            worst = max(worst, found.cost / best)
    assert checked > 50
    assert worst < 1.1


def test_snakes() -> None:
    assert snake(3, 2, by_columns=False) == (0, 1, 2, 5, 4, 3)
    assert snake(3, 2, by_columns=True) == (0, 3, 4, 1, 2, 5)
