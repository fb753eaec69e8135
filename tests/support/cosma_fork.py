"""A program of COSMA's kind that another order plans better."""

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists


def fork(target: Target) -> Problem:
    """The file's order keeps two large tensors at once; another order does not."""
    sizes = {"x": 4, "a": 8, "b": 8, "c": 1, "d": 1, "y": 1}
    kinds = {"x": "input", "y": "output"}
    tensors = [Tensor(n, s, kinds.get(n, "activation")) for n, s in sizes.items()]  # type: ignore[arg-type]
    reads = {"a": "x", "b": "x", "c": "a", "d": "b", "y": "cd"}
    ops = [Op(f"make {name}", list(read), [name]) for name, read in reads.items()]
    return problem_from_lists("fork", tensors, ops, target)
