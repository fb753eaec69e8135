"""Shapes of subgraphs: which may run at all, and which count as the same."""

from tests.support.contest import CHAIN
from ullage.compiler.contest.instance import instance_of
from ullage.solvers.contest.subgraphs import shape_of

INSTANCE = instance_of(CHAIN, "chain")
NOTHING: frozenset[int] = frozenset()


def test_the_strict_reading_refuses_pointwise_between_matmuls() -> None:
    assert shape_of(INSTANCE, (0, 1, 2), (), NOTHING) is not None
    assert shape_of(INSTANCE, (0, 1, 2), (), NOTHING, strict=True) is None
    assert shape_of(INSTANCE, (1, 2, 3), (), NOTHING, strict=True) is not None


def test_outputs_of_several_shapes_do_not_run_together() -> None:
    wide = CHAIN | {"widths": [16, 16, 8, 16, 16, 8, 8], "inputs": [[0, 1], [3], [4, 2], [5, 5]]}
    instance = instance_of(wide, "wide")
    assert shape_of(instance, (0, 3), (), NOTHING) is None
    assert shape_of(instance, (2, 3), (), NOTHING) is not None


def test_operators_alike_have_shapes_alike() -> None:
    def key(*operators: int, entering: frozenset[int] = NOTHING) -> tuple[float | None, ...]:
        shape = shape_of(INSTANCE, operators, (), entering)
        assert shape is not None
        return shape.key()

    assert key(0) == key(2)
    assert key(1) != key(3)
    assert key(2) != key(2, entering=frozenset({4}))


def test_depth_is_cut_for_one_matmul_or_a_pair() -> None:
    pair = CHAIN | {"inputs": [[0, 1], [3], [3, 2], [5, 0]]}
    shape = shape_of(instance_of(pair, "pair"), (0, 2), (3,), NOTHING)
    assert shape is not None
    assert shape.cut is None  # tensor 3 leaves, so that the two MatMuls are on their own
    chain = CHAIN | {"inputs": [[0, 1], [4], [3, 2], [5, 0]], "outputs": [[3], [6], [5], [4]]}
    shape = shape_of(instance_of(chain, "chain"), (0, 2), (), NOTHING)
    assert shape is not None
    assert shape.cut is not None
