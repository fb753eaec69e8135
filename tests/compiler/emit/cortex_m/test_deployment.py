"""Deployments as texts: what they contain, what has no kernel, which targets they are for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.models import model_file
from tests.support.onnx_models import const, model, node
from tests.support.quantised_models import gallery, keyword
from ullage.compiler.common.errors import ModelError, UllageError, UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.emit import emit_plan
from ullage.compiler.emit.cortex_m.board import TIER_REGIONS, is_deployable, regions_of
from ullage.compiler.emit.cortex_m.context import c_float
from ullage.compiler.emit.cortex_m.deployment import deployment_of
from ullage.compiler.emit.cortex_m.shapes import around
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.hwmodels.catalog.registry import load_target


def compiled(path: Path, **options: object) -> Compiled:
    chosen = CompileOptions(target="mps3-an547", solver="greedy", **options)  # type: ignore[arg-type]
    return compile_model(path, chosen)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


def test_emit_c_writes_all_that_make_needs(tmp_path: Path) -> None:
    result = compiled(saved(keyword(), tmp_path), fast_memory_bytes=2048)
    written = emit_plan(result, tmp_path / "out", "c")
    assert written == {"c": str(tmp_path / "out" / "ullage_plan.h")}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"Makefile", "main.c", "ullage.ld", "ullage_data.S", "ullage_model.c"} <= names
    assert {"ullage_kernels_q8.c", "ullage_kernels_f32.c", "ullage_qspi.bin"} <= names
    script = (tmp_path / "out" / "ullage.ld").read_text()
    assert "DTCM (rwx) : ORIGIN = 0x30000000, LENGTH = 2048" in script
    calls = (tmp_path / "out" / "ullage_model.c").read_text()
    kernels = ["conv", "average_pool", "matmul", "softmax"]
    assert [calls.count(f"ullage_q8_{k}(") for k in kernels] == [3, 1, 1, 1]


def test_weights_lie_in_flash_where_the_plan_has_them(tmp_path: Path) -> None:
    path = saved(keyword(), tmp_path)
    plan = compiled(path).plan
    deployment = deployment_of(plan, path)
    image = deployment.files["ullage_qspi.bin"]
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    found = 0
    for operand in deployment.program.loads:
        span = operand.spans[0]
        if plan.target.tiers[span.tier].name == "qspi":
            held = image[span.address : span.address + span.size_bytes]
            assert held == weights[operand.name].tobytes()
            found += 1
    assert found >= 8


def test_other_targets_get_tables_only(tmp_path: Path) -> None:
    options = CompileOptions(target="stm32h743", solver="greedy")
    emit_plan(compile_model(saved(keyword(), tmp_path), options), tmp_path / "out", "c")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["ullage_plan.c", "ullage_plan.h"]


def test_padded_feature_maps_have_no_kernels(tmp_path: Path) -> None:
    options = CompileOptions(
        target="mps3-an547", solver="greedy", overrides={"storage.channels_multiple": "16"}
    )
    result = compile_model(saved(gallery(), tmp_path), options)
    with pytest.raises(ModelError, match=r"storage\.channels_multiple"):
        deployment_of(result.plan)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("outputs", "no kernel for TopK"),
        ("branch", "no kernel for If"),
        ("lstm", "no kernel for LSTM"),
        ("types", "no float32 kernel for Greater"),
        ("residual", "'f' is needed beside what is computed from it"),
    ],
)
def test_what_has_no_kernel_is_refused_before_anything_is_written(
    name: str, reason: str, tmp_path: Path
) -> None:
    result = compiled(model_file(name))
    with pytest.raises(ModelError, match=reason):
        emit_plan(result, tmp_path / "out", "json,c")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def _bias_of_another_scale(proto: onnx.ModelProto) -> None:
    next(t for t in proto.graph.initializer if t.name == "b3_s").CopyFrom(
        const("b3_s", 0.5, "float32")
    )


def _float_result(proto: onnx.ModelProto) -> None:
    last = proto.graph.node[-1]
    proto.graph.node.pop()
    proto.graph.output[0].name = last.input[0]


def _activation(proto: onnx.ModelProto) -> None:
    relu = next(n for n in proto.graph.node if n.op_type == "Relu")
    relu.op_type = "Elu"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_bias_of_another_scale, "the scale of its bias is not the product"),
        (_float_result, "8-bit operands and a result of another type"),
        (_activation, "Elu"),
    ],
)
def test_8_bit_operators_that_no_integer_kernel_computes(
    change: Callable[[onnx.ModelProto], None], reason: str, tmp_path: Path
) -> None:
    proto = keyword()
    change(proto)
    path = saved(proto, tmp_path)
    with pytest.raises(ModelError, match=reason):
        deployment_of(compiled(path).plan, path)


def test_plans_that_kernels_cannot_follow(tmp_path: Path) -> None:
    path = saved(gallery(), tmp_path)
    resized = compiled(model_file("late"), dtype="int8")
    with pytest.raises(UsageError, match="--dtype int8"):
        deployment_of(resized.plan)
    result = compiled(path)
    path.unlink()
    with pytest.raises(UllageError, match=r"model\.onnx"):
        deployment_of(result.plan)


def test_which_targets_are_the_board() -> None:
    target = load_target("mps3-an547")
    assert is_deployable(target)
    assert [r.name for r in regions_of(target)] == ["dtcm", "sram", "qspi"]
    assert not is_deployable(load_target("stm32h743"))
    with pytest.raises(UsageError, match="'sdram' is no memory of mps3-an547"):
        regions_of(load_target("stm32h743"))
    known = {region.name: region for region in TIER_REGIONS}
    for tier in target.tiers:
        assert tier.capacity_bytes == known[tier.name].size_bytes
        assert tier.read_only == known[tier.name].read_only
    larger = load_target("mps3-an547", {"tiers.dtcm.capacity_bytes": "1MiB"})
    with pytest.raises(UsageError, match="dtcm has 1 MiB, on mps3-an547 512 KiB"):
        regions_of(larger)


@pytest.mark.parametrize("number", [0.0, 1.0, -2.5, 1e-30, 1e30, 1 / 3, np.inf, -np.inf])
def test_float_literals_read_back_as_the_same_number(number: float) -> None:
    text = c_float(number).removesuffix("f")
    assert np.float32(text.replace("INFINITY", "inf")) == np.float32(number)
    assert c_float(np.nan) == "NAN"


def test_axes_in_the_middle() -> None:
    assert around((2, 3, 4, 5), [1, 2]) == (2, 12, 5)
    assert around((2, 3, 4, 5), [-1]) == (24, 5, 1)
    assert around((2, 3, 1, 5), [1, 3]) == (2, 15, 1)
    assert around((2, 3, 4, 5), [1, 3]) is None
    assert around((1, 1, 4), [0, 1]) == (1, 1, 4)


def test_names_cannot_end_a_comment(tmp_path: Path) -> None:
    proto = model([node("Relu", "x", "y", name="*/ int x; /*")], {"x": (4,)}, "y")
    path = saved(proto, tmp_path)
    text = deployment_of(compiled(path).plan, path).files["ullage_model.c"].decode()
    assert "/* Relu * / int x; / * */" in text


def test_a_part_of_what_has_no_ranges_is_refused(tmp_path: Path) -> None:
    proto = model(
        [node("Relu", "x", "a"), node("Softmax", "a", "y", name="soft")], {"x": (4, 8)}, "y"
    )
    path = saved(proto, tmp_path)
    halves = tuple(part_of(1, {0: (low, low + 2)}) for low in (0, 2))
    schedule = Schedule("halves", (part_of(0, {}), *halves))
    options = CompileOptions(target="mps3-an547", solver="all-slow", schedule=schedule)
    with pytest.raises(ModelError, match=r"no kernel for Softmax 'soft' .* parts"):
        deployment_of(compile_model(path, options).plan, path)


def test_a_sum_in_several_parts_is_refused(tmp_path: Path) -> None:
    weights = [const("w", np.ones((8, 3)), "float32")]
    path = saved(model([node("MatMul", "x w", "y")], {"x": (4, 8)}, "y", weights), tmp_path)
    halves = tuple(part_of(0, {-1: (low, low + 4)}) for low in (0, 4))
    options = CompileOptions(
        target="mps3-an547", solver="all-slow", schedule=Schedule("halves", halves)
    )
    with pytest.raises(ModelError, match="adds up in several parts"):
        deployment_of(compile_model(path, options).plan, path)
