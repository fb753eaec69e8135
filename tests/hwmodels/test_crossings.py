"""What bytes take on their way over one, two and three links: below every plan, met with room."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import Asked, solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.bounds import Bound, order_free_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.crossings import crossing_bytes, crossing_seconds, way_energy_j
from ullage.hwmodels.resources import resources


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_no_plan_is_below_and_traffic_is_met_where_there_is_room(hops: int, objective: str) -> None:
    compared = met = 0
    for seed in range(share(8, 4)):
        rng = Random(seed)
        roomy = seed % 2 == 0
        target = scratchpad_target(rng, hops, room=1 << 16 if roomy else 512)
        problem = scratchpad_problem(rng, target, 6, steady_state=rng.random() < 0.3)
        bound = order_free_bound(problem.minimising(objective))
        for solver in ("all-slow", "greedy", "fluid"):
            try:
                plan = solve_with(solver, problem, Asked(objective=objective))
            except InfeasibleError:
                continue
            value = objective_value(score(plan), objective)
            assert bound.value <= value * (1 + 1e-9)
            compared += 1
            met += roomy and value <= bound.value + 16
    assert compared > 10
    assert met > 2 or objective != "traffic"


def test_every_link_and_port_on_the_only_way_counts() -> None:
    target = scratchpad_target(Random(0), 2, room=4096)
    tensors = [Tensor("x", 100, "input"), Tensor("w", 300, "weight"), Tensor("y", 50, "output")]
    problem = problem_from_lists("one", tensors, [Op("op", ["x", "w"], ["y"])], target)
    seconds = crossing_seconds(problem)
    rates = {link.name: link.bandwidth_bytes_per_s for link in target.links}
    assert seconds["t2->t1"] == pytest.approx(400 / rates["t2->t1"])
    assert seconds["t0->t1"] == pytest.approx(50 / rates["t0->t1"])
    middle, home = target.tiers[1:]
    assert seconds["t1"] == pytest.approx(450 * 2 / middle.read_bytes_per_s)
    assert seconds["t2"] == pytest.approx(450 / home.read_bytes_per_s)
    assert "t0" not in seconds
    assert crossing_bytes(problem) == 900
    assert order_free_bound(problem.minimising("traffic")) == Bound(450, "compulsory-hops")


def test_what_some_way_goes_around_does_not_count() -> None:
    target = scratchpad_target(Random(0), 2, room=4096)
    past = replace(target.links[0], source="t2", destination="t0", name="t2->t0")
    target = replace(target, links=(*target.links, past))
    tensors = [Tensor("x", 100, "input"), Tensor("y", 50, "output")]
    problem = problem_from_lists("one", tensors, [Op("op", ["x"], ["y"])], target)
    seconds = crossing_seconds(problem)
    assert seconds["t2->t1"] == seconds["t1->t0"] == seconds["t2->t0"] == 0
    middle, home = target.tiers[1:]
    assert seconds["t1"] == pytest.approx(50 * 2 / middle.read_bytes_per_s)
    assert seconds["t2"] == pytest.approx(150 / home.read_bytes_per_s)
    assert crossing_bytes(problem) == 100 + 2 * 50


def loads_j(target: Target) -> float:
    """Least joules that a byte of an input takes on its way to operators."""
    tensors = [Tensor("x", 100, "input"), Tensor("y", 50, "output")]
    problem = problem_from_lists("one", tensors, [Op("op", ["x"], ["y"])], target)
    return way_energy_j(target, resources(problem), "input", outgoing=True)


def with_addressable(target: Target, *names: str) -> Target:
    """The target with these tiers, and no others, within reach of operators."""
    tiers = (replace(tier, addressable=tier.name in names) for tier in target.tiers)
    return replace(target, tiers=tuple(tiers))


def test_a_way_ends_where_operators_reach_the_bytes() -> None:
    hop_j = 2e-12  # a read and a write
    chain = scratchpad_target(Random(0), 3, room=4096)
    assert loads_j(chain) == pytest.approx(3 * hop_j)
    # t1 is within reach; t1 and t2 are passed on the way to it, and t2 is not within reach.
    assert loads_j(with_addressable(chain, "t0", "t1")) == pytest.approx(2 * hop_j)
    assert loads_j(with_addressable(chain, "t0", "t2")) == pytest.approx(hop_j)


def test_a_tier_out_of_reach_ends_no_way() -> None:
    chain = scratchpad_target(Random(0), 3, room=4096)
    # t2 is within reach, but only t1 leads to it: the home t3 is joined to t1, and t1 to t0 and t2.
    links = {(link.source, link.destination): link for link in chain.links}
    home = replace(links["t3", "t2"], destination="t1", name="t3->t1")
    ways = (home, links["t1", "t0"], links["t1", "t2"], links["t0", "t1"])
    back = replace(links["t2", "t3"], source="t1", name="t1->t3")
    target = with_addressable(replace(chain, links=(*ways, back)), "t0", "t2")
    assert loads_j(target) == pytest.approx(2 * 2e-12)


def test_operators_reach_the_fastest_tier_whatever_is_said_of_it() -> None:
    chain = scratchpad_target(Random(0), 2, room=4096)
    target = with_addressable(chain, "t1")
    links = {(link.source, link.destination): link for link in chain.links}
    past = replace(links["t2", "t1"], destination="t0", name="t2->t0")
    store = replace(links["t1", "t2"], source="t0", name="t0->t2")
    target = replace(target, links=(past, store))
    assert loads_j(target) == pytest.approx(2e-12)
