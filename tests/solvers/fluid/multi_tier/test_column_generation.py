"""When column generation ends: not while columns are still missing."""

from ullage.solvers.fluid.multi_tier.column_generation import has_stalled


def test_rounds_that_bring_nothing_are_the_end() -> None:
    assert has_stalled([0.7, 0.69, 0.69], [2.0, 2.0, 1.999], patience=2)
    assert not has_stalled([0.7, 0.3, 0.3], [2.0, 2.0, 2.0], patience=2)
    assert not has_stalled([0.7, 0.69], [2.0, 2.0], patience=2)


def test_a_value_that_falls_goes_on_while_the_bound_stands() -> None:
    """The bound may stand still for dozens of rounds, and rise to the value in the last ones."""
    values = [2.0 * 0.995**number for number in range(20)]
    gaps = [value / 1.0 - 1 for value in values]
    assert not has_stalled(gaps, values, patience=4)
    assert has_stalled(gaps[:1] * 20, values[:1] * 20, patience=4)
