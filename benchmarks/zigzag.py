"""Seven layers in ZigZag's tpu_like and in plans for `targets/zigzag-tpu-like.yaml`.

ZigZag (Mei et al., IEEE TC 2021) searches the loop order of a layer on an accelerator. The figures
below are those of zigzag-dse 3.9.1 for its own tpu_like.yaml (accelerator and mapping), with the
search `loma` for latency; `--run` asks an installed ZigZag again. `validation.py` makes the table.

Run: python benchmarks/zigzag.py [--run]
"""

import argparse
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from common import ROOT
from onnx import TensorProto, helper

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.hwmodels.cost import score

TARGET = ROOT / "benchmarks" / "targets" / "zigzag-tpu-like.yaml"


@dataclass(frozen=True)
class Layer:
    """A layer on tpu_like, int8 operands.

    Attributes:
        name: what to call it.
        positions: rows and columns of the output; of a matrix product, 1 and its rows.
        depth: input channels of a group.
        channels: output channels of a group.
        groups: groups of channels.
        kernel: side of the window.
        stride: between windows.
        cycles: ZigZag's latency.
        energy_pj: ZigZag's energy.
    """

    name: str
    positions: tuple[int, int]
    depth: int
    channels: int
    groups: int = 1
    kernel: int = 1
    stride: int = 1
    cycles: float = 0.0
    energy_pj: float = 0.0

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product."""
        return self.positions[0] == 1


# Layers of the issue, with what ZigZag says of them.
LAYERS = (
    Layer("GEMM 128 x 512 x 256", (1, 128), 512, 256, cycles=28_719, energy_pj=24_330_109),
    Layer("FC 2048 x 1000", (1, 1), 2048, 1000, cycles=254_203, energy_pj=180_143_004),
    Layer("1x1, 28 x 28, 192 to 64", (28, 28), 192, 64, cycles=28_288, energy_pj=21_558_104),
    Layer("3x3, 56 x 56, 64 to 64", (56, 56), 64, 64, 1, 3, 1, 139_872, 68_294_569),
    Layer("3x3, 14 x 14, 256 to 256", (14, 14), 256, 256, 1, 3, 1, 125_854, 89_754_207),
    Layer("stem 3x3 / 2, 112 x 112, 3 to 32", (112, 112), 3, 32, 1, 3, 2, 131_916, 55_879_273),
    Layer("depthwise 3x3, 56 x 56 x 144", (56, 56), 1, 1, 144, 3, 1, 4_124_810, 145_298_649),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="ask an installed ZigZag again")
    if parser.parse_args().run:
        for layer in LAYERS:
            print(layer.name, *zigzag(layer))
    print(table())


def table() -> str:
    """Latency and energy of ZigZag and of plans, layer by layer."""
    lines = [
        "| layer | ZigZag, cycles | ours, cycles | ours / ZigZag | ZigZag, uJ | ours, uJ "
        "| ours / ZigZag |",
        "|---|---|---|---|---|---|---|",
    ]
    for layer in LAYERS:
        cycles, energy_pj = planned(layer)
        lines.append(
            f"| {layer.name} | {layer.cycles:,.0f} | {cycles:,.0f} | {cycles / layer.cycles:.2f} "
            f"| {1e-6 * layer.energy_pj:.1f} | {1e-6 * energy_pj:.1f} "
            f"| {energy_pj / layer.energy_pj:.2f} |"
        )
    return "\n".join(lines)


def planned(layer: Layer) -> tuple[float, float]:
    """Cycles and picojoules of a verified plan: the target's clock is 1 GHz."""
    options = CompileOptions(target=str(TARGET), dtype="int8", schedule="whole", solver="fluid")
    result = score(compile_model(model_of(layer), options).plan)
    return 1e9 * result.latency_s, 1e12 * result.energy_j


def model_of(layer: Layer) -> onnx.ModelProto:
    """The layer as a model."""
    height, width = layer.positions
    given, made = layer.depth * layer.groups, layer.channels * layer.groups
    if layer.is_product:
        shapes = ([width, given], [given, made], [width, made])
        node = helper.make_node("MatMul", ["x", "w"], ["y"], "layer")
    else:
        window = [layer.kernel] * 2
        shapes = (
            [1, given, layer.stride * height, layer.stride * width],
            [made, layer.depth, *window],
            [1, made, height, width],
        )
        before = layer.kernel // 2
        node = helper.make_node(
            "Conv",
            ["x", "w"],
            ["y"],
            "layer",
            kernel_shape=window,
            strides=[layer.stride] * 2,
            pads=[before] * 2 + [layer.kernel - layer.stride - before] * 2,
            group=layer.groups,
        )
    x, _, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip("xwy", shapes, strict=True)
    )
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, shapes[1], bytes(4 * prod(shapes[1])), True
    )
    graph = helper.make_graph([node], "layer", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def zigzag(layer: Layer) -> tuple[float, float]:
    """Latency in cycles and energy in pJ by an installed ZigZag (zigzag-dse)."""
    import yaml
    import zigzag as package
    from zigzag.api import get_hardware_performance_zigzag

    inputs = Path(package.__file__).parent / "inputs"
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder) / "layer.yaml"
        workload.write_text(yaml.safe_dump([workload_of(layer)]), encoding="utf-8")
        energy_pj, cycles, _ = get_hardware_performance_zigzag(
            str(workload),
            str(inputs / "hardware" / "tpu_like.yaml"),
            str(inputs / "mapping" / "tpu_like.yaml"),
            opt="latency",
            dump_folder=folder,
            loma_show_progress_bar=False,
        )
    return float(cycles), float(energy_pj)


def workload_of(layer: Layer) -> dict[str, Any]:
    """The layer as ZigZag's workload files describe it."""
    bits = {"O": 16, "O_final": 8, "W": 8, "I": 8}
    height, width = layer.positions
    common = {"id": 0, "name": "layer", "operand_precision": bits, "operand_source": {}}
    if layer.is_product:
        return {
            **common,
            "operator_type": "Gemm",
            "equation": "O[d][k]+=I[d][c]*W[c][k]",
            "dimension_relations": [],
            "loop_dims": ["D", "C", "K"],
            "loop_sizes": [width, layer.depth, layer.channels],
        }
    side = layer.kernel
    return {
        **common,
        "operator_type": "Conv",
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [
            f"ix={layer.stride}*ox+1*fx",
            f"iy={layer.stride}*oy+1*fy",
        ],
        "loop_dims": ["B", "G", "K", "C", "OY", "OX", "FY", "FX"],
        "loop_sizes": [1, layer.groups, layer.channels, layer.depth, height, width, side, side],
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [layer.stride * (n - 1) + side for n in (width, height)],
        "padding": [[side // 2] * 2] * 2,
    }


if __name__ == "__main__":
    main()
