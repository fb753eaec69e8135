"""Reductions: what makes a problem a simpler one for solvers, and its solution one of the problem.

problem ---- kept_weights ---- parallel_links ----> reduced problem
                                                          | solver
solution <--- kept_weights <--- parallel_links <--- its solution
"""

from ullage.compiler.ir.problem import Problem
from ullage.solvers import kept_weights, parallel_links
from ullage.solvers.interface import Solution


def reduce(problem: Problem, *, keeps: bool = True) -> Problem:
    """The simplest problem that stands for a problem; itself where there is none.

    A bound of the reduced problem is one of the problem.

    Args:
        problem: the problem.
        keeps: weights may stay out of their home from one inference to the next.
    """
    return parallel_links.reduce(kept_weights.reduce(problem) if keeps else problem)


def recover(problem: Problem, solution: Solution, *, keeps: bool = True) -> Solution:
    """A solution of the reduced problem as one of the problem; arguments as of `reduce`."""
    if not keeps:
        return parallel_links.recover(problem, solution)
    kept = kept_weights.reduce(problem)
    return kept_weights.recover(problem, parallel_links.recover(kept, solution))
