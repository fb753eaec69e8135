"""The most that a unit multiplies, by the geometry of its model."""

import pytest

from ullage.hwmodels.catalog.registry import list_targets, load_target
from ullage.hwmodels.compute.peaks import peak_macs_per_s


@pytest.mark.parametrize("name", list_targets())
def test_geometry_agrees_with_the_listed_rates(name: str) -> None:
    compute = load_target(name).compute
    for dtype, rate in compute.macs_per_s.items():
        peak = peak_macs_per_s(compute, dtype)
        if compute.model == "kernel-cycles":
            assert peak <= rate  # kernels do not reach what the core can multiply
        else:
            assert peak == pytest.approx(rate, rel=0.02), dtype


def test_the_peak_of_an_array_is_not_the_listed_rate() -> None:
    compute = load_target("tpu-v4i").compute
    assert peak_macs_per_s(compute, "int8") == 4 * 128 * 128 * 1.05e9
    assert peak_macs_per_s(compute.at_speed(0.5), "int8") == 2 * 128 * 128 * 1.05e9
