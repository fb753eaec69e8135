"""Precedence as bit masks, against networkx."""

from random import Random

import networkx as nx
from hypothesis import given, settings

from tests.support.cosma_oracle import cosma_case
from tests.support.graphs import seeds
from ullage.solvers.cosma.precedence import bits, precedence_of, some_order
from ullage.solvers.cosma.tensors import GIVEN, CosmaProgram, program_of


def flow_of(program: CosmaProgram) -> nx.DiGraph:
    """An edge for every result that is read."""
    dag = nx.DiGraph()
    dag.add_nodes_from(range(len(program.steps)))
    for tensor in program.tensors:
        if tensor.producer != GIVEN:
            dag.add_edges_from((tensor.producer, reader) for reader in tensor.readers)
    return dag


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=seeds)
def test_masks_are_ancestors_and_descendants(seed: int) -> None:
    problem = cosma_case(seed, 9, shares=seed % 2 == 0)
    program = program_of(problem, weights=True)
    found, dag = precedence_of(program), flow_of(program)
    for operator in dag:
        assert set(bits(found.before[operator])) == nx.ancestors(dag, operator)
        assert set(bits(found.after[operator])) == nx.descendants(dag, operator)
    earliest, latest = found.windows()
    orders = [order for order, _ in zip(nx.all_topological_sorts(dag), range(200), strict=False)]
    for order in orders:
        assert all(earliest[o] <= at <= latest[o] for at, o in enumerate(order))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=seeds)
def test_an_order_takes_the_first_of_those_preferred(seed: int) -> None:
    problem = cosma_case(seed, 9, shares=False)
    program = program_of(problem, weights=True)
    before = precedence_of(program).before
    preferred = list(range(len(before)))
    Random(seed).shuffle(preferred)
    order = some_order(before, preferred)
    assert sorted(order) == sorted(preferred)
    done = 0
    for operator in order:
        ready = [o for o in preferred if not done >> o & 1 and not before[o] & ~done]
        assert operator == ready[0]
        done |= 1 << operator
