"""Compute units that are fed beside computing, and cores that access their operands themselves."""

from random import Random


def random_overlap(rng: Random) -> float:
    """The portion of operands' accesses that is hidden: all in half of the targets, else less.

    It is drawn from a copy of the generator: what is drawn next from `rng` does not change.
    """
    ahead = Random()
    ahead.setstate(rng.getstate())
    ahead.random()
    return ahead.choice((1.0, 1.0, 0.5, 0.0))
