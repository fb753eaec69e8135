"""A core that loads its own operands: fast memory is worth its bytes, up to the peak."""

from itertools import pairwise

from tests.support.onnx_models import model, node, weight
from ullage.compiler import CompileOptions, compile_model

SIZES = (2 << 10, 8 << 10, 16 << 10, 32 << 10, 128 << 10, 256 << 10)
# Five 3x3 convolutions of 16 channels over 24 x 24 positions: maps of 9 KiB.
LAYERS = 5


def latencies(overlap: str) -> list[float]:
    """Seconds of whole-tensor plans by fast memory, on a microcontroller with SDRAM and flash."""
    names = ["x", *(f"m{i}" for i in range(1, LAYERS)), "y"]
    nodes = [
        node("Conv", f"{names[i]} w{i}", names[i + 1], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        for i in range(LAYERS)
    ]
    stored = [weight(f"w{i}", (16, 16, 3, 3)) for i in range(LAYERS)]
    proto = model(nodes, {"x": (1, 16, 24, 24)}, "y", stored)
    found = []
    for size in SIZES:
        options = CompileOptions(
            target="stm32h743",
            dtype="int8",
            fast_memory_bytes=size,
            overrides={"compute.overlap": overlap},
            schedule="whole",
            solver="fluid",
        )
        found.append(compile_model(proto, options).score.latency_s)
    return found


def test_more_memory_is_faster_up_to_the_peak() -> None:
    found = latencies("0")
    peak = SIZES.index(32 << 10)  # two maps and the weights of a layer
    assert all(more < 0.995 * less for less, more in pairwise(found[: peak + 1]))
    assert found[peak:] == [found[peak]] * len(found[peak:])


def test_it_is_worth_nothing_where_computing_hides_the_loads() -> None:
    found = latencies("1")
    assert min(found) == max(found)
