"""A program in which a fetch must begin very early."""

from tests.support.targets import HAND
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists


def long_wait(steps: int) -> Problem:
    """Many operators that only compute, then one that reads much more than it computes."""
    target = HAND
    room = target.fastest.capacity_bytes // 2
    tensors = [Tensor("x", 16, "input"), Tensor("w", room, "weight")]
    ops = []
    for i in range(steps):
        tensors.append(Tensor(f"a{i}", 16, "activation"))
        ops.append(Op(f"op{i}", ["x" if not i else f"a{i - 1}"], [f"a{i}"], macs=room))
    tensors.append(Tensor("y", 16, "output"))
    ops.append(Op("last", [f"a{steps - 1}", "w"], ["y"]))
    return problem_from_lists("wait", tensors, ops, target)
