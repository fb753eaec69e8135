"""Functions of MLIR on memrefs: allocations, lifetimes, work, and what is refused by name."""

import pytest

from ullage.compiler.common.errors import ModelError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.integrations.mlir_text import problem_from_mlir
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.catalog.registry import load_target

TARGET = load_target("edge-npu")
T = "memref<8x16xf32>"


def problem_of(body: str, arguments: str = f"%x: {T}", result: str = "") -> Problem:
    head = f"module {{\n  func.func private @callee({T})\n"
    text = f"{head}  func.func @f({arguments}) {result} {{\n{body}\n  }}\n}}\n"
    return problem_from_mlir(text, TARGET)


def buffers_of(problem: Problem) -> dict[str, tuple[str, int]]:
    """Names of each buffer's values -> its kind, `output` where an output lies there, and size."""
    return {
        " ".join(value.name for value in buffer.values): (
            "output" if buffer.outputs else buffer.kind,
            buffer.size_bytes,
        )
        for buffer in problem.program.buffers
    }


LAYERS = """
    %c = arith.constant 0.0 : f32
    %h = memref.alloc() {alignment = 64 : i64} : memref<8x32xf32>
    linalg.fill ins(%c : f32) outs(%h : memref<8x32xf32>)  // accumulated into
    linalg.matmul ins(%x, %w : memref<8x16xf32>, memref<16x32xf32>)
                  outs(%h : memref<8x32xf32>)
    %r = memref.alloc() : memref<8x32xf32>
    linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]
    } ins(%h : memref<8x32xf32>) outs(%r : memref<8x32xf32>) {
    ^bb0(%in: f32, %out: f32):
      %m = arith.maximumf %in, %c : f32
      linalg.yield %m : f32
    }
    memref.dealloc %h : memref<8x32xf32>
    return %r : memref<8x32xf32>"""


def test_allocations_have_the_lifetimes_of_their_uses() -> None:
    problem = problem_of(LAYERS, f"%x: {T}, %w: memref<16x32xf32> {{ullage.weight}}")
    assert problem.name == "f"
    found = buffers_of(problem)
    assert found["%x"] == ("input", 8 * 16 * 4)
    assert found["%w"] == ("weight", 16 * 32 * 4)
    assert found["%r"] == ("output", 8 * 32 * 4)
    assert "%h %h@1" in found  # what the product adds to lies in the bytes of the zeros
    kinds = [step.kind for step in problem.program.steps if step.kind != DMA_STEP]
    assert kinds == ["fill", "matmul", "generic"]
    assert sum(step.macs for step in problem.program.steps) == 8 * 16 * 32
    plan = compile_problem(problem, CompileOptions(solver="greedy"))
    assert plan.value > 0


def test_views_stand_for_their_buffer_and_arguments_may_be_results() -> None:
    body = f"""
    %a = memref.alloca() : memref<8x16xf32>
    %half = memref.subview %a[0, 0] [4, 16] [1, 1] : {T} to memref<4x16xf32, strided<[16, 1]>>
    %top = memref.get_global @top : memref<4x16xf32>
    memref.copy %x, %a : {T} to {T}
    linalg.add ins(%half, %top : memref<4x16xf32, strided<[16, 1]>>, memref<4x16xf32>)
               outs(%y : memref<4x16xf32>)
    return"""
    found = buffers_of(problem_of(body, f"%x: {T}, %n: index, %y: memref<4x16xf32>"))
    assert found == {
        "%x": ("input", 512),
        "%a": ("activation", 512),
        "%top": ("weight", 256),
        "%y@1": ("output", 256),
    }


@pytest.mark.parametrize(
    ("operation", "macs"),
    [
        (
            "linalg.batch_matmul ins(%p, %q : memref<2x3x4xi8>, memref<2x4x5xi8>) "
            "outs(%o : memref<2x3x5xi32>)",
            2 * 3 * 4 * 5,
        ),
        (
            "linalg.matvec ins(%p, %q : memref<3x4xi8>, memref<4xi8>) outs(%o : memref<3xi32>)",
            12,
        ),
        (
            "linalg.conv_2d_nhwc_hwcf {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : "
            "tensor<2xi64>} ins(%p, %q : memref<1x6x6x3xf8E4M3>, memref<3x3x3x8xf8E4M3>) "
            "outs(%o : memref<1x4x4x8xf32>)",
            4 * 4 * 8 * 27,
        ),
        (
            "linalg.conv_2d_nchw_fchw ins(%p, %q : memref<1x3x6x6xf16>, memref<8x3x3x3xf16>) "
            "outs(%o : memref<1x8x4x4xf32>)",
            4 * 4 * 8 * 27,
        ),
        (
            "linalg.depthwise_conv_2d_nhwc_hwc ins(%p, %q : memref<1x6x6x3xi8>, memref<3x3x3xi8>) "
            "outs(%o : memref<1x4x4x3xi32>)",
            4 * 4 * 3 * 9,
        ),
        ("linalg.exp ins(%p : memref<5xbf16>) outs(%o : memref<5xbf16>)", 0),
    ],
)
def test_work_follows_from_the_shapes(operation: str, macs: int) -> None:
    types = dict(zip("pqo", _types(operation), strict=False)) if macs else {}
    types = types or {"p": "memref<5xbf16>", "o": "memref<5xbf16>"}
    arguments = ", ".join(f"%{name}: {type_}" for name, type_ in types.items())
    problem = problem_of(f"    {operation}\n    return", arguments)
    assert sum(step.macs for step in problem.program.steps) == macs


def _types(operation: str) -> list[str]:
    return [f"memref<{part.split('>')[0]}>" for part in operation.split("memref<")[1:]]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    scf.for %i = %a to %b step %c {\n    }", r"line 4: 'scf.for .*unroll loops"),
        ("    call @callee(%x) : (memref<8x16xf32>) -> ()", "inline calls"),
        ("    %a = memref.alloc(%n) : memref<?x16xf32>", "dynamic"),
        ("    %a = memref.alloc() : memref<4x!quant>", "no memref type"),
        ("    linalg.exp ins(%u : memref<4xf32>) outs(%v : memref<4xf32>)", "%v is no memref"),
        (f"    linalg.exp ins(%x : {T}) outs(%t : tensor<4xf32>)", "bufferise"),
        ("    return", "no operation"),
        (
            f"    %w = memref.get_global @w : {T}\n    linalg.exp ins(%x : {T}) outs(%w : {T})",
            "a weight",
        ),
        (f"    %a = memref.alloc() : {T}\n    linalg.exp ins(%x : {T}) outs(%a : {T})", "returns"),
    ],
)
def test_what_is_not_read_is_named(body: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        problem_of(body)


@pytest.mark.parametrize("text", ["", "func.func private @f(memref<4xf32>)\n", LAYERS])
def test_a_text_without_one_function_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"one func\.func"):
        problem_from_mlir(text, TARGET)
    twice = "func.func @a() {\n return\n}\nfunc.func @b() {\n return\n}\n"
    with pytest.raises(ModelError, match="has: @a, @b"):
        problem_from_mlir(twice, TARGET)
    with pytest.raises(ModelError, match="brace"):
        problem_from_mlir("func.func @a(%x: memref<4xf32>) {\n return\n", TARGET)
