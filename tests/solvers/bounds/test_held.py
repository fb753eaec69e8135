"""What must be held at an event, on a gate whose operand and weights are larger than memory."""

import onnx
import pytest

from tests.support.onnx_models import model, node, weight
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.cones import Following, layout_of
from ullage.solvers.bounds.cuts import Setting, Tail, rates_of, setting_of
from ullage.solvers.bounds.held import tail_of
from ullage.solvers.bounds.live import live_of
from ullage.solvers.bounds.network import network_of

CHANNELS, SIDE = 16, 10


def gated() -> onnx.ModelProto:
    """A convolution, its gate by two products, and a convolution behind it."""
    return model(
        [
            node("Conv", "x wa", "a", kernel_shape=[1, 1]),
            node("GlobalAveragePool", "a", "b"),
            node("Conv", "b wc", "c", kernel_shape=[1, 1]),
            node("Conv", "c wd", "d", kernel_shape=[1, 1]),
            node("Mul", "a d", "e"),
            node("Conv", "e wy", "y", kernel_shape=[1, 1]),
        ],
        {"x": (1, CHANNELS, SIDE, SIDE)},
        "y",
        [
            weight("wa", (CHANNELS, CHANNELS, 1, 1)),
            weight("wc", (2, CHANNELS, 1, 1)),
            weight("wd", (CHANNELS, 2, 1, 1)),
            weight("wy", (CHANNELS, CHANNELS, 1, 1)),
        ],
    )


def setting(fast: int) -> Setting:
    graph = import_model(gated(), ImportOptions(dtype="int8"))
    target = load_target("edge-npu").with_fast_memory(fast)
    network = network_of(graph, target)
    return setting_of(network, layout_of(network), live_of(network), rates_of(target))


def tail(fast: int, value: str, plain_s: float = 1e-12) -> Tail:
    prepared = setting(fast)
    network = prepared.network
    cones = Following(network, prepared.layout, prepared.live).of(network.numbers[value])
    assert cones is not None
    return tail_of(prepared, cones[0], plain_s, {}, whole_reductions=False)


def test_the_gates_operand_is_held_or_loaded_or_made_again() -> None:
    found = tail(64, "c")
    # Behind the gate's first product: its second one, all of `a`, a convolution, and the result.
    size = CHANNELS * SIDE * SIDE
    weights = CHANNELS + CHANNELS * CHANNELS  # one of the two inputs of `d`, and all of `wy`
    second = (weights + size + size - 64) / 4e9
    assert found.held_seconds == pytest.approx(second, rel=1e-6)
    assert found.makers == {0}


def test_making_it_again_takes_its_operand_and_weights_too() -> None:
    """`a` is as large as the input that it is made of, so that making it again gains nothing."""
    roomy = tail(CHANNELS * SIDE * SIDE, "c")
    narrow = tail(CHANNELS * SIDE * SIDE - 400, "c")
    assert narrow.held_seconds - roomy.held_seconds == pytest.approx(400 / 4e9, rel=1e-3)


def test_what_matters_little_is_not_looked_at() -> None:
    assert tail(64, "c", plain_s=1.0) == Tail(1.0, 1.0)
