"""What is published beside whole latencies: layers of a chip, and other networks on a chip.

    buffer     Eyeriss, layer by layer: busy elements and accesses of the global buffer, against the
               processing latency (Chen et al., JSSC 2017, tables V and VI, as cucapra/fodlam has
               them, read by OCR)
    networks   eight networks on the chip of `hexagon-htp` in two data types (Qualcomm AI Hub)
    operators  operators of networks as TFLite files, against those that plans charge for

`chip_experiments.py` stores what these functions find, and `chips.py --pages` writes their tables.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import overhead_seconds

# Rates of Eyeriss: MACs of an element and bytes of the global buffer in a second (its target file).
EYERISS_HZ, EYERISS_BUFFER = 200e6, 3.2e9
# Busy elements, accesses of the global buffer in MB, processing and total latency in ms of each
# convolution. Misread there and mended by the columns' totals: conv2 and conv3 of AlexNet's total
# and processing latency, the accesses of VGG's conv3_3, the processing latency of its conv2_2.
EYERISS_LAYERS: Mapping[tuple[str, int], tuple[tuple[int, float, float, float], ...]] = {
    ("alexnet_convs", 4): (
        (154, 18.5, 16.5, 20.9),
        (135, 77.6, 39.2, 41.9),
        (156, 50.2, 21.8, 23.6),
        (156, 37.4, 16.0, 18.4),
        (156, 24.9, 10.0, 10.5),
    ),
    ("vgg16_convs", 3): (
        (156, 112.5, 38.0, 76.2),
        (156, 2402.8, 810.6, 910.3),
        (156, 1201.4, 405.3, 470.3),
        (156, 2402.3, 810.7, 894.3),
        (156, 607.4, 204.0, 241.1),
        (156, 1214.8, 408.1, 460.9),
        (156, 1214.8, 408.1, 457.7),
        (168, 321.3, 105.1, 135.3),
        (168, 643.7, 210.0, 254.8),
        (168, 643.7, 210.0, 246.3),
        (168, 90.0, 48.3, 54.3),
        (168, 90.0, 48.5, 53.7),
        (168, 90.0, 48.5, 53.7),
    ),
}
# Latencies in ms in float16 and in int8, of TFLite on QCS8550, which is the Snapdragon 8 Gen 2:
# qualcomm/ai-hub-models, perf.yaml of each network, commit b61a009 of February 2026. No int8 of
# EfficientNet is there.
HUB: Mapping[str, tuple[float, float | None]] = {
    "squeezenet1_1": (0.663, 0.198),
    "shufflenet_v2_x1_0": (0.794, 0.451),
    "googlenet": (0.809, 0.242),
    "mobilenet_v2": (0.925, 0.415),
    "inception_v3": (1.367, 0.643),
    "efficientnet_b0": (1.568, None),
    "densenet121": (1.799, 2.225),
    "resnet50": (2.209, 0.762),
}
HUB_DTYPES = ("float16", "int8")
# A time that each inference takes besides, in s, by data type.
PER_INFERENCE_S = {"float16": 0.6e-3, "int8": 0.15e-3}
# Operators of the TFLite files of the same source, in float32 and int8.
TFLITE_OPERATORS: Mapping[str, tuple[int, int]] = {
    "mobilenet_v2": (71, 108),
    "googlenet": (84, 86),
    "squeezenet1_1": (41, 43),
    "densenet121": (312, 698),
}
# The time for each operator of `coral-edge-tpu` that is tried, in s.
CORAL_OPERATOR_S = 25e-6


@dataclass(frozen=True)
class Buffered:
    """The convolutions of a network on Eyeriss, summed over layers.

    Attributes:
        model: name of the network.
        batch: inputs at once.
        busy_s: products at the elements that are busy.
        larger_s: of each layer the larger of that and its accesses at the buffer's bandwidth.
        processing_s: published processing latency, without waits for DRAM.
        total_s: published latency.
        operand_bytes: of inputs, weights and results, each once.
        buffer_bytes: published accesses of the buffer.
    """

    model: str
    batch: int
    busy_s: float
    larger_s: float
    processing_s: float
    total_s: float
    operand_bytes: float
    buffer_bytes: float


@dataclass(frozen=True)
class Network:
    """A network on `hexagon-htp`.

    Attributes:
        model: name of the network.
        dtype: data type.
        ours_s: lower bound of plans in steady state.
        published_s: published latency.
    """

    model: str
    dtype: str
    ours_s: float
    published_s: float


@dataclass(frozen=True)
class Operators:
    """A network on `coral-edge-tpu`, by how many operators take a time each.

    Attributes:
        model: name of the network.
        charged: operators that plans charge for.
        plan_s: latency of the stored plan.
        published_s: published latency.
    """

    model: str
    charged: int
    plan_s: float
    published_s: float


def buffered(problem: Callable[..., Problem]) -> list[Buffered]:
    """The networks of `EYERISS_LAYERS`.

    Args:
        problem: of a target, network, data type and batch.
    """
    found = []
    for (model, batch), layers in EYERISS_LAYERS.items():
        steps = [step for step in problem("eyeriss", model, "int16", batch).steps if step.macs]
        pairs = list(zip(steps, layers, strict=True))
        busy = [step.macs / (elements * EYERISS_HZ) for step, (elements, *_) in pairs]
        accesses = [1e6 * accessed / EYERISS_BUFFER for _, accessed, *_ in layers]
        found.append(
            Buffered(
                model,
                batch,
                sum(busy),
                sum(max(pair) for pair in zip(busy, accesses, strict=True)),
                sum(processing for *_, processing, _ in layers) / 1e3,
                sum(total for *_, total in layers) / 1e3,
                float(sum(use.accessed_bytes for step in steps for use in step.uses)),
                1e6 * sum(accessed for _, accessed, *_ in layers),
            )
        )
    return found


def networks(problem: Callable[..., Problem]) -> list[Network]:
    """The networks of `HUB`; `problem` as in `buffered`, in steady state if asked."""
    return [
        Network(
            model,
            dtype,
            order_free_bound(problem("hexagon-htp", model, dtype, 1, steady_state=True)).value,
            latency_ms / 1e3,
        )
        for model, latencies in HUB.items()
        for dtype, latency_ms in zip(HUB_DTYPES, latencies, strict=True)
        if latency_ms is not None
    ]


def operators(
    problem: Callable[..., Problem],
    plans_s: Mapping[str, float],
    published_s: Mapping[str, float],
) -> list[Operators]:
    """The networks of `TFLITE_OPERATORS`; `problem` as in `buffered`.

    Args:
        problem: of a target, network, data type, batch and changed fields.
        plans_s: latencies of stored plans.
        published_s: published latencies.
    """
    changed = {"compute.overhead_s": str(CORAL_OPERATOR_S)}
    return [
        Operators(
            model,
            round(
                overhead_seconds(problem("coral-edge-tpu", model, "int8", 1, **changed)).sum()
                / CORAL_OPERATOR_S
            ),
            plans_s[model],
            published_s[model],
        )
        for model in TFLITE_OPERATORS
    ]


def buffered_table(rows: Iterable[Buffered]) -> str:
    """What explains the processing latency of Eyeriss, and what is left of the total."""
    lines = [
        "| network of `eyeriss` | products / processing latency "
        "| and buffer accesses, the larger of each layer | operands once / buffer accesses "
        "| processing / total latency |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.model} int16, batch {r.batch} | {r.busy_s / r.processing_s:.2f} "
        f"| {r.larger_s / r.processing_s:.2f} | {r.operand_bytes / r.buffer_bytes:.3f} "
        f"| {r.processing_s / r.total_s:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def networks_table(rows: Iterable[Network]) -> str:
    """Networks on `hexagon-htp`, as they are and with a time for each inference."""
    columns = "".join(
        f" | {dtype}, ms | ours / published | with {1e3 * PER_INFERENCE_S[dtype]:g} ms"
        for dtype in HUB_DTYPES
    )
    lines = [f"| network of `hexagon-htp`{columns} |", "|---" * (1 + 3 * len(HUB_DTYPES)) + "|"]
    by_key = {(row.model, row.dtype): row for row in rows}
    for model in HUB:
        cells = [model]
        for dtype in HUB_DTYPES:
            row = by_key.get((model, dtype))
            if row is None:
                cells += ["-"] * 3
                continue
            raised_s = row.ours_s + PER_INFERENCE_S[dtype]
            cells += [
                f"{1e3 * row.published_s:g}",
                f"{row.ours_s / row.published_s:.2f}",
                f"{raised_s / row.published_s:.2f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def operators_table(rows: Iterable[Operators]) -> str:
    """Networks on `coral-edge-tpu` with a time for each operator, counted in three ways."""
    lines = [
        "| network of `coral-edge-tpu` | operators charged | of a TFLite file in float, in int8 "
        "| ours / published, with 25 us for each charged | of the float file | of the int8 file |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        counts = (row.charged, *TFLITE_OPERATORS[row.model])
        shares = " | ".join(
            f"{(row.plan_s + count * CORAL_OPERATOR_S) / row.published_s:.2f}" for count in counts
        )
        lines.append(f"| {row.model} | {counts[0]} | {counts[1]}, {counts[2]} | {shares} |")
    return "\n".join(lines)
