"""Functions of MLIR on memrefs: allocations, lifetimes, work, and what is refused by name."""

import pytest

from tests.support.mlir import TARGET, T, problem_of
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.integrations.mlir_text import problem_from_mlir
from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP


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
        ("    linalg.exp ins(%u : memref<4xf32>) outs(%v : memref<4xf32>)", "%u is no memref"),
        (f"    linalg.exp ins(%x : {T}) outs(%t : tensor<4xf32>)", "bufferise"),
        ("    return", "no operation"),
        (
            f"    %w = memref.get_global @w : {T}\n    linalg.exp ins(%x : {T}) outs(%w : {T})",
            "a weight",
        ),
        (
            f"    %a = memref.alloc() : {T}\n    linalg.exp ins(%x : {T}) outs(%a : {T})\n return",
            "returns",
        ),
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


GOOD = """func.func @two(%x: memref<64x128xf32>, %w: memref<128x256xf32> {ullage.weight})
    -> memref<64x256xf32> {
  %h = memref.alloc() : memref<64x256xf32>
  linalg.matmul ins(%x, %w : memref<64x128xf32>, memref<128x256xf32>) outs(%h : memref<64x256xf32>)
  %r = memref.alloc() : memref<64x256xf32>
  memref.copy %h, %r : memref<64x256xf32> to memref<64x256xf32>
  memref.dealloc %h : memref<64x256xf32>
  return %r : memref<64x256xf32>
}
"""
# A place before which a line is put, and one for a line behind an operation.
COPY, RETURN = "  memref.copy", "  return"


@pytest.mark.parametrize(
    "results",
    [
        "memref<64x256xf32>",
        "(memref<64x256xf32> {llvm.noalias})",
        "memref< 64x256xf32 > attributes {llvm.emit_c_interface}",
    ],
)
def test_the_text_that_others_break_is_read(results: str) -> None:
    text = GOOD.replace("-> memref<64x256xf32> {", f"-> {results} {{")
    problem = problem_from_mlir(text, TARGET)
    assert sum(step.macs for step in problem.program.steps) == 64 * 128 * 256


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # Names.
        ("ins(%x, %w", "ins(%q, %w", "line 4: .*%q is no memref"),
        ("ins(%x, %w", "ins(x, %w", "'x' is no name"),
        ("%x: memref<64x128xf32>", "%x: tensor<64x128xf32>", "line 4: .*%x is no memref"),
        ("(%x: memref", "(memref", "line 1, argument 0: it is not written as"),
        ("ins(%x, %w : memref<64x128xf32>", "ins(%x, %w : tensor<64x128xf32>", "bufferise tensors"),
        ("%w: memref", "%x: memref", "line 1, argument 1: %x is defined twice"),
        ("%r = memref.alloc()", "%h = memref.alloc()", "line 5: .*%h is defined twice"),
        ("%r = memref.alloc() : memref<64x256xf32>", "%h = arith.constant 0 : index", "twice"),
        ("%r = memref.alloc()", "%r = memref.get_global @nope", "line 5: .*no memref.global @nope"),
        (RETURN, "  %s = arith.addi %q, %q : index\n  return", "line 8: .*%q is no memref"),
        (RETURN, "  %s = arith.addf %x, %x : tensor<4xf32>\n  return", "with tensors"),
        ("return %r", "return %q", "line 8: .*%q is no memref"),
        # Types.
        ("alloc() : memref<64x256", "alloc() : memref<6x2", "line 4: .*%h is a memref<6x2xf32>"),
        ("%h, %r : memref<64x256xf32>", "%h, %r : memref<64x256xf16>", "line 6: .*%h is a memref"),
        ("%r = memref.alloc() : memref<64x256", "%r = memref.alloc() : memref<32x2", "%r is a "),
        ("return %r : memref<64", "return %r : memref<6", "line 8: .*%r is a memref<64x256"),
        (", memref<128x256xf32>) outs", ") outs", "2 operands and 1 types"),
        ("ins(%x, %w : memref<64x128xf32>, memref<128x256xf32>)", "ins(%x, %w)", "are missing"),
        ("memref<64x128xf32>", "memref<0x128xf32>", "line 1, argument 0: .*no elements"),
        ("memref<64x128xf32>", "memref<-6x128xf32>", "no memref type"),
        ("memref<64x128xf32>", "memref<64x128xi99999999999999>", "no size that is known"),
        ("memref<64x128xf32>", "memref<64x128xq7>", "no size that is known"),
        ("memref<64x128xf32>", f"memref<{'9' * 5000}x128xf32>", "no whole number of 64 bits"),
        ("memref<64x128xf32>", f"memref<{'9' * 18}x128xf32>", "larger than any memory"),
        (
            "alloc() : memref<64x256xf32>",
            "alloc() : memref<64x256xf32, strided<[512, 1]>>",
            "dense",
        ),
        # Lifetimes.
        (COPY, "  memref.dealloc %h : memref<64x256xf32>\n  memref.copy", "line 7: .*line 6: "),
        (RETURN, "  memref.dealloc %h : memref<64x256xf32>\n  return", "line 8: .*deallocation at"),
        (RETURN, "  memref.dealloc %r : memref<64x256xf32>\n  return", "line 9: .*deallocation at"),
        (RETURN, "  memref.dealloc %x : memref<64x128xf32>\n  return", "no allocation of memref"),
        (RETURN, "  memref.dealloc %q : memref<64x128xf32>\n  return", "%q is no memref"),
        ("%h = memref.alloc()", "%h = memref.alloca()", "line 7: .*no allocation of memref.alloc"),
        ("copy %h, %r", "copy %r, %h", "line 6: .*reads %r, which nothing"),
        (RETURN, "  return\n  return", "line 9: .*never reached"),
        ("  return %r : memref<64x256xf32>\n", "", "line 1: it has no return"),
        # Results of the signature.
        ("-> memref<64x256xf32> {", "-> memref<64x999xf32> {", "line 8: .*line 1 says memref<64x9"),
        (
            "-> memref<64x256xf32> {",
            "-> (memref<64x256xf32>, f32) {",
            "says memref<64x256xf32>, f",
        ),
        ("-> memref<64x256xf32> {", "{", "line 8: .*says nothing: make the two agree"),
        ("-> memref<64x256xf32> {", "-> tensor<64x256xf32> {", "line 8: .*says tensor"),
        ("return %r : memref<64x256xf32>", "return", "line 8: .*returns nothing, and line 1"),
        # Syntax.
        ("return %r", "[%r]\n  return %r", "line 8: .*only allocations"),
        ("%h = memref.alloc()", "%h = ", "only allocations"),
        ("memref.copy %h, %r", "memref.copy %h, %r, %r", "3 operands and 2 types"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_line(old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelError, match=told):
        problem_from_mlir(GOOD.replace(old, new, 1), TARGET)


@pytest.mark.parametrize(
    ("operation", "lengths"),
    [
        ("matmul", "4x128 127x8 4x8"),
        ("matmul", "4x16 16x8 4x999"),
        ("matmul", "4x16 4x8"),
        ("matmul", "4x8"),
        ("matmul", "4x16 16x8 1x4x8"),
        ("matmul_transpose_a", "4x16 16x8 4x8"),
        ("matmul_transpose_b", "4x16 16x8 4x8"),
        ("batch_matmul", "2x4x16 3x16x8 2x4x8"),
        ("matvec", "4x16 15 4"),
        ("exp", "4 5"),
        ("add", "4 4x4 4x4"),
        ("add", "4 4"),
        ("copy", "4x16 8x8"),
        ("fill", "4 4"),
        ("transpose", "4x8 4x8"),
        ("broadcast", "4 4x8"),
        ("reduce", "4x8 3"),
        ("conv_2d_nhwc_hwcf", "1x6x6x3 3x3x4x8 1x4x4x8"),
        ("conv_2d_nhwc_hwcf", "1x6x6x3 3x3x3x8 1x5x4x8"),
        ("depthwise_conv_2d_nchw_chw", "1x3x6x6 4x3x3 1x3x4x4"),
    ],
)
def test_shapes_that_do_not_fit_their_operation_are_refused(operation: str, lengths: str) -> None:
    with pytest.raises(ModelError, match=rf"line 4: .*shapes do not fit {operation}: it reads"):
        _one_operation(operation, lengths)


@pytest.mark.parametrize(
    ("operation", "lengths", "macs"),
    [
        ("matmul_transpose_a", "16x4 16x8 4x8", 4 * 16 * 8),
        ("matmul_transpose_b", "4x16 8x16 4x8", 4 * 16 * 8),
        ("vecmat", "16 16x8 8", 16 * 8),
        ("conv_2d", "6x6 3x3 4x4", 16 * 9),
        ("depthwise_conv_2d_nchw_chw", "1x3x6x6 3x3x3 1x3x4x4", 3 * 16 * 9),
        ("depthwise_conv_2d_nhwc_hwcm", "1x6x6x3 3x3x3x2 1x4x4x3x2", 6 * 16 * 9),
        ("conv_2d_ngchw_gfchw", "1x2x3x6x6 2x5x3x3x3 1x2x5x4x4", 2 * 5 * 16 * 27),
        ("transpose", "8x4 4x8", 0),
        ("broadcast", "4 8x4", 0),
        ("reduce", "8x4 4", 0),
    ],
)
def test_shapes_that_fit_give_the_work(operation: str, lengths: str, macs: int) -> None:
    problem = _one_operation(operation, lengths)
    assert sum(step.macs for step in problem.program.steps) == macs


def test_batched_products_of_any_number_are_one_entry() -> None:
    problem = _one_operation("batch_matmul", f"{2**40}x2x3 {2**40}x3x5 {2**40}x2x5")
    (step,) = (step for step in problem.program.steps if step.macs)
    assert step.gemms == (Gemm(2, 3, 5, 2**40),)
    with pytest.raises(ModelError, match=r"line 4: .*at most 2\*\*62 can be counted: cut it up"):
        _one_operation("matmul", f"{2**24}x{2**24} {2**24}x{2**24} {2**24}x{2**24}")


def test_an_unknown_operation_of_linalg_is_refused() -> None:
    with pytest.raises(ModelError, match=r"line 4: .*linalg\.matmull computes is not known"):
        _one_operation("matmull", "4x16 16x8 4x8")


def _one_operation(operation: str, lengths: str) -> Problem:
    """A problem of one operation, whose last shape is the output; axis 0 is dropped or moved."""
    types = [f"memref<{shape}xf32>" for shape in lengths.split()]
    names = [f"%v{number}" for number in range(len(types))]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    ins = f"ins({', '.join(names[:-1])} : {', '.join(types[:-1])})" if names[1:] else ""
    attribute = {"transpose": "permutation = [1, 0]"}.get(operation, "dimensions = [0]")
    outs = f"outs({names[-1]} : {types[-1]}) {attribute}"
    return problem_of(f"    linalg.{operation} {ins} {outs}\n    return", arguments)


@pytest.mark.parametrize(
    ("operation", "type_", "fits"),
    [
        ("subview %x[4, 0] [4, 16] [1, 1]", "4x16xf32", True),
        ("subview %x[4, 0] [1, 16] [1, 1]", "16xf32", True),
        ("subview %x[5, 0] [4, 16] [1, 1]", "4x16xf32", False),
        ("subview %x[-1, 0] [4, 16] [1, 1]", "4x16xf32", False),
        ("subview %x[0, 0] [4, 16] [0, 1]", "4x16xf32", False),
        ("subview %x[0, 0] [4, 16] [3, 1]", "4x16xf32", False),
        ("subview %x[0] [4] [1]", "4xf32", False),
        ("subview %x[0, 0] [4, 16] [1, 1]", "16xf32", False),
        ("subview %x[%i, 0] [4, 16] [1, 1]", "4x16xf32", False),
        ("cast %x", "8x16xf32, strided<[16, 1], offset: 0>", True),
        ("cast %x", "16x8xf32", False),
        ("cast %x", "8x16xi32", False),
        ("reinterpret_cast %x to offset: [64], sizes: [64], strides: [1]", "64xf32", True),
        ("reinterpret_cast %x to offset: [65], sizes: [64], strides: [1]", "64xf32", False),
        ("reinterpret_cast %x to offset: [0], sizes: [64], strides: [3]", "64xf32", False),
        ("reinterpret_cast %x to offset: [0], sizes: [64], strides: [1]", "63xf32", False),
        ("collapse_shape %x [[0, 1]]", "128xf32", True),
        ("collapse_shape %x [[0, 1]]", "129xf32", False),
        ("expand_shape %x [[0, 1], [2]] output_shape [2, 4, 16]", "2x4x16xf32", True),
        ("expand_shape %x [[0, 1], [2]] output_shape [2, 4, 16]", "2x4x17xf32", False),
        ("transpose %x (a, b) -> (b, a)", "16x8xf32", True),
        ("transpose %x (a, b) -> (b, a)", "16x9xf32", False),
        ("transpose %x (a, b) -> (a, b)", "16x8xf32", False),
        ("transpose %x (a, b) -> (b, b)", "16x16xf32", False),
        ("transpose %x (a, a) -> (a, a)", "16x8xf32", False),
        ("transpose %x (a, b) -> (b, c)", "16x8xf32", False),
        ("transpose %x", "16x8xf32", False),
        ("collapse_shape %x [[0]]", "128xf32", False),
        ("collapse_shape %x [[1, 0]]", "128xf32", False),
        ("collapse_shape %x [[0], [1]]", "128xf32", False),
        ("collapse_shape %x [[0, 1], []]", "128x1xf32", False),
        ("collapse_shape %x []", "f32", False),
        ("expand_shape %x [[0], [1, 2]] output_shape [2, 4, 16]", "2x4x16xf32", False),
        ("expand_shape %x [[0, 1], [2]] output_shape [4, 2, 16]", "2x4x16xf32", False),
        ("expand_shape %x [[0, 1], [2]]", "2x4x16xf32", True),
        ("expand_shape %x [[0, 2], [1]]", "2x16x4xf32", False),
        ("expand_shape %x [[0, 1]]", "2x64xf32", False),
        ("view %b[%i][]", "8xf32", True),
        ("view %b[%i][]", "32xf32", False),
        ("view %b[%n][]", "8xf32", False),
    ],
)
def test_views_lie_in_their_memref(operation: str, type_: str, fits: bool) -> None:
    shape = type_.split(",", maxsplit=1)[0]
    source = "memref<128xi8>" if "%b" in operation else T
    body = f"""    %i = arith.constant 4 : index
    %v = memref.{operation} : {source} to memref<{type_}>
    %y = memref.alloc() : memref<{shape}>
    linalg.copy ins(%v : memref<{type_}>) outs(%y : memref<{shape}>)
    return %y : memref<{shape}>"""
    arguments = f"%x: {T}, %b: memref<128xi8>, %n: index"
    if fits:
        assert "%y" in buffers_of(problem_of(body, arguments))
    else:
        with pytest.raises(ModelError, match=r"line 5: .*(out of range|dynamic)"):
            problem_of(body, arguments)


@pytest.mark.parametrize("text", [None, GOOD.encode(), 3])
def test_what_is_no_text_is_an_error_of_usage(text: object) -> None:
    with pytest.raises(UsageError, match=f"of type {type(text).__name__}"):
        problem_from_mlir(text, TARGET)  # type: ignore[arg-type]
