"""Published figures of layers and networks that explain latencies on docs/chips.md."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ullage.compiler.ir.graph import LoopNest
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.compute.systolic import nest_cycles

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import chip_references

    yield chip_references
    sys.modules.pop("chip_references")


@pytest.mark.parametrize(
    ("network", "totals"),
    [
        (("alexnet_convs", 4), (208.5, 103.5, 115.3)),
        (("vgg16_convs", 3), (11035.8, 3755.2, 4309.5)),
    ],
)
def test_layers_of_eyeriss_add_up_to_the_totals_of_their_tables(
    references: ModuleType, network: tuple[str, int], totals: tuple[float, ...]
) -> None:
    layers = references.EYERISS_LAYERS[network]
    for column, total in enumerate(totals, 1):
        assert sum(layer[column] for layer in layers) == pytest.approx(total, rel=1e-3)


def test_a_depthwise_convolution_of_gemmini_takes_a_cycle_for_each_product() -> None:
    """One channel at a time, tap by tap: one of its 256 cells works."""
    systolic = load_target("gemmini").compute.systolic
    assert systolic is not None
    size = {"height": 56, "width": 56, "channels": 144, "groups": 144}
    nest = LoopNest("depthwise", "Conv", kernel=(3, 3), **size)
    products = 56 * 56 * 144 * 9
    assert nest_cycles(nest, systolic) == pytest.approx(products, rel=1e-4)
