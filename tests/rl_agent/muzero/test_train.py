"""Training."""

import numpy as np

from tests.support.muzero import GAMES, SMALL, agent_of
from ullage.rl_agent.muzero.train import Report, train


def test_training_makes_games_better_and_keeps_the_best() -> None:
    agent = agent_of()
    reports: list[Report] = []
    told: list[float] = []
    train(agent, lambda a: a.generation < 25, reports.append, told.append)
    means = [report.mean_s for report in reports]
    assert np.mean(means[-5:]) < np.mean(means[:2])
    assert told == sorted(told, reverse=True)
    assert agent.best_s == min(told)
    assert agent.best_s <= min(report.greedy_s for report in reports) or agent.unplaced
    assert agent.elites or agent.unplaced
    assert agent.games == 25 * GAMES
    assert len(agent.window) == SMALL.window
    totals = [elite.total for elite in agent.elites]
    assert totals == sorted(totals, reverse=True)
    assert len({elite.actions.tobytes() for elite in agent.elites}) == len(totals)
