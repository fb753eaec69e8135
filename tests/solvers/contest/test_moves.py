"""Moves: an operator stays behind those that it reads from."""

from random import Random

from tests.support.contest import random_instance
from ullage.solvers.contest.moves import Moves


def test_moves_keep_producers_first() -> None:
    random, changes, copies = Random(1), 0, 0
    for _ in range(30):
        instance = random_instance(random, 8)
        moves = Moves(instance, random)
        sequence = list(instance.order)
        for _ in range(40):
            changed = moves.changed(sequence)
            if changed is None:
                continue
            assert set(changed) == set(sequence)
            for place, operator in enumerate(changed):
                assert moves.producers[operator] <= set(changed[:place])
            changes += changed != sequence
            copies += len(changed) > len(set(changed))
            sequence = changed
    assert changes > 300
    assert copies > 20


def test_partners_share_a_tensor() -> None:
    instance = random_instance(Random(3), 6)
    moves = Moves(instance, Random(0))
    for operator in instance.order:
        partners = moves.partners(operator)
        assert operator not in partners
        assert all(operator in moves.partners(partner) for partner in partners)
