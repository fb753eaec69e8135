"""`--schedule agent`: the search begun and led by a policy."""

from dataclasses import replace

import pytest

from tests.support.schedule_games import random_task
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.schedule.agent import AGENT, agent_schedule, check_playable, decoded
from ullage.rl_agent.schedule.network import random_network, zero_network
from ullage.rl_agent.schedule.tables import instance_of
from ullage.solvers.scheduling.cascade.search import cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import Judge


def test_the_search_is_no_worse_than_whole_operators_and_its_decode() -> None:
    cut = 0
    for seed in range(6):
        task = random_task(seed)[1]
        instance = instance_of(task)
        network = random_network(seed)
        found = agent_schedule(task, network, tries=40)
        judge = Judge(task, instance.facts)
        singles = [Cascade(p, p + 1) for p in range(instance.operators)]
        whole, decode = judge.value(singles), judge.value(decoded(instance, network))
        assert whole is not None
        assert decode is not None
        if found.schedule.is_whole:
            continue
        cut += 1
        assert found.schedule.name == AGENT
        value = judge.value(found.cascades)
        assert value is not None
        assert value.worth <= min(whole.worth, decode.worth) * (1 + 1e-2)
    assert cut >= 2


def test_the_decode_of_zeros_is_the_dynamic_program() -> None:
    instance = instance_of(random_task(2)[1])
    best = tuple(instance.chain.best(0, instance.operators))
    assert decoded(instance, zero_network()) == best


def test_no_more_linear_programs_are_solved_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[Judge] = []
    real = Judge.__init__

    def init(self: Judge, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        solved.append(self)

    monkeypatch.setattr(Judge, "__init__", init)
    for most in (1, 5, 20):
        task = replace(random_task(7)[1], most_values=most)
        for found in (cascade_schedule(task), agent_schedule(task, random_network(0))):
            assert found.schedule.parts
            assert 0 < solved[-1].solved <= most


def test_equal_seeds_give_equal_schedules() -> None:
    task = replace(random_task(7)[1], most_values=30)
    one, two = (agent_schedule(task, random_network(0)) for _ in range(2))
    assert one.schedule == two.schedule


def test_what_the_agent_does_not_play_is_refused() -> None:
    with pytest.raises(UsageError, match="minimises latency, not energy"):
        check_playable("energy")
    check_playable("latency")
