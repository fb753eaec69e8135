"""A deployment: the plan's tables, calls of kernels, initial memory, linker script, Makefile.

    ullage_plan.h, .c      the plan: addresses and copies (compiler/emit/c_source.py)
    ullage_model.h, .c     a function for each operator: one call of a kernel or several
    ullage_data.S, *.bin   what is in memory before the first step: weights, example inputs
    ullage.ld              memory regions, each tier's arena in its own
    the rest               kernels, run-time, board and Makefile, the same for every model

Nothing of ullage is needed to build or run it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.provenance import (
    check_problem_matches,
    import_options,
    importing_as_planned,
)
from ullage.compiler.emit.c_source import arena_bytes, c_files, macro_names
from ullage.compiler.emit.cortex_m.board import (
    CODE,
    DATA,
    MPU_BYTES,
    PAGE_BYTES,
    STACK_BYTES,
    Region,
    regions_of,
)
from ullage.compiler.emit.cortex_m.context import Context
from ullage.compiler.emit.cortex_m.floats import plain_calls
from ullage.compiler.emit.cortex_m.quantised import quantised_calls
from ullage.compiler.emit.program import FlatProgram, Operand, program_of
from ullage.compiler.execute.element_types import Array, as_bytes
from ullage.compiler.execute.runner import Executor, refuse_resized
from ullage.compiler.ir.graph import Graph, Value
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP, Layout
from ullage.compiler.lowering.aliases import alias_options, find_aliases
from ullage.compiler.lowering.dataflow import absorbed_inputs
from ullage.compiler.lowering.layouts import LaidOut
from ullage.compiler.lowering.orders import planned_order

# Folder of this package with the C files that are the same for every model.
FIRMWARE = "firmware"


@dataclass(frozen=True)
class Deployment:
    """All files of a deployment.

    Attributes:
        files: name -> contents.
        inputs: the example inputs by name.
        executor: the model that was read.
        program: the plan's addresses.
    """

    files: Mapping[str, bytes]
    inputs: Mapping[str, Array]
    executor: Executor
    program: FlatProgram

    def write(self, folder: Path) -> None:
        """Write all files into a folder."""
        for name, contents in self.files.items():
            write_atomic(folder / name, contents)


def deployment_of(plan: Plan, model: Path | None = None, seed: int = 0) -> Deployment:
    """The deployment of a legal plan on the board.

    Args:
        plan: the plan; its target's tiers are the board's (`board.TIER_REGIONS`).
        model: the model file; by default the one that the plan names.
        seed: seed of the example inputs, and of weights that the file lacks.

    Raises:
        UsageError: the target is another, or the plan was made with --dtype.
        ModelError: there is no kernel for an operator, or the model cannot be read.
        VerificationError: the plan is of another model.
    """
    regions = regions_of(plan.target)
    refuse_resized(plan)
    path = model or Path(str(plan.model.get("path", "")))
    with importing_as_planned(plan, path):
        executor = Executor(path, import_options(plan), seed, name=plan.problem.name)
    check_problem_matches(plan, executor.imported.graph, str(path))
    if executor.imported.graph.states:
        raise UsageError(
            "firmware begins every inference with inputs of its own, and this plan has tensors "
            "that live across inferences (--state): use `ullage run`"
        )
    _refuse_padding(executor.imported.graph)
    program = program_of(plan)
    header, tables = c_files(plan)
    files: dict[str, bytes] = {
        "ullage_plan.h": header.encode("ascii"),
        "ullage_plan.c": tables.encode("ascii"),
        "ullage_model.c": _model_source(plan, program, executor, regions).encode("ascii"),
        "ullage_model.h": _MODEL_HEADER.encode("ascii"),
        "ullage.ld": _linker_script(plan, regions).encode("ascii"),
    }
    data, images = _data(plan, program, executor, regions)
    files["ullage_data.S"] = data.encode("ascii")
    files.update(images)
    folder = resources.files(f"{__package__}.{FIRMWARE}")
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith((".c", ".h")) or entry.name == "Makefile":
            files[entry.name] = entry.read_bytes()
    return Deployment(files, executor.inputs, executor, program)


def _refuse_padding(graph: Graph) -> None:
    """Refuse feature maps that the target pads.

    Raises:
        ModelError: there is one.
    """
    name = next((value.name for value in graph.values.values() if value.padded_shape), None)
    if name is not None:
        raise ModelError(
            f"{name!r} is padded (storage.channels_multiple, storage.columns_multiple of the "
            "target), and kernels of the board take tensors without gaps; compile without padding",
            {"tensor": name},
        )


_MODEL_HEADER = """\
/* The model's operators and memory, by ullage. */
#ifndef ULLAGE_MODEL_H
#define ULLAGE_MODEL_H
#include "ullage_board.h"
#include "ullage_runtime.h"

/* Example inputs by number of the load; NULL for weights. */
extern const unsigned char *const ullage_example_inputs[];
/* Regions that the program may use: code, data, then the tiers' arenas. */
void ullage_regions(ullage_region regions[2 + ULLAGE_TIERS]);
#endif
"""


def _model_source(
    plan: Plan, program: FlatProgram, executor: Executor, regions: tuple[Region, ...]
) -> str:
    """`ullage_model.c`."""
    arrays: list[str] = []
    functions: list[str] = []
    names: list[str] = []
    for t, step in enumerate(plan.problem.steps):
        if step.kind == DMA_STEP:
            names.append("NULL")
            continue
        constants, statements = _operator(plan, program, executor, t)
        arrays += constants
        title = _plain(f"{step.kind} {step.name}")
        body = "\n".join(statements) or "  /* its result is in memory already */"
        functions.append(f"/* {title} */\nstatic void step_{t}(void) {{\n{body}\n}}\n")
        names.append(f"step_{t}")
    loads = [_load_symbol(plan, operand, i) for i, operand in enumerate(program.loads)]
    inputs = [
        f"load_{i}" if operand_is(plan, o, "input") else "NULL" for i, o in enumerate(program.loads)
    ]
    symbols = [f"load_{i}" for i in range(len(program.loads)) if f"load_{i}" in (*loads, *inputs)]
    lines = [
        f"/* Operators of {_plain(plan.problem.name)}, by ullage. */",
        '#include "ullage_model.h"',
        "",
        "#include <math.h>",
        "",
        '#include "ullage_kernels.h"',
        "",
        *(f"extern const unsigned char {symbol}[];" for symbol in symbols),
        *(f"extern unsigned char ullage_{r.name}_begin[], ullage_{r.name}_end[];" for r in regions),
        "extern unsigned char ullage_code_begin[], ullage_code_end[];",
        "extern unsigned char ullage_ram_begin[], ullage_ram_end[];",
        "",
        *arrays,
        "",
        *functions,
        _array("unsigned char *const ullage_arena[]", [f"ullage_{r.name}_begin" for r in regions]),
        _array(
            "const unsigned char ullage_read_only[]",
            [str(int(region.read_only)) for region in regions],
        ),
        _array("const ullage_operator ullage_operators[]", names),
        _array("const unsigned char *const ullage_initial[]", loads),
        _array("const unsigned char *const ullage_example_inputs[]", inputs),
        "void ullage_regions(ullage_region regions[2 + ULLAGE_TIERS]) {",
        "  const ullage_region all[] = {",
        "    {(uintptr_t)ullage_code_begin, (uintptr_t)ullage_code_end, 0, 1},",
        "    {(uintptr_t)ullage_ram_begin, (uintptr_t)ullage_ram_end, 1, 0},",
        *(
            f"    {{(uintptr_t)ullage_{r.name}_begin, (uintptr_t)ullage_{r.name}_end, "
            f"{int(not r.read_only)}, 0}},"
            for r in regions
        ),
        "  };",
        "  for (uint32_t i = 0; i < 2 + ULLAGE_TIERS; i++) regions[i] = all[i];",
        "}",
        "",
    ]
    return "\n".join(lines)


def _operator(
    plan: Plan, program: FlatProgram, executor: Executor, t: int
) -> tuple[list[str], list[str]]:
    """Constant arrays and statements of the operator of step t."""
    graph = executor.imported.graph
    operator = graph.operators[plan.problem.steps[t].operator]
    absorbed: set[str] = set()
    if "schedule" not in plan.model:  # in parts no Concat lies in place partly
        options = alias_options(plan.target, alias=bool(plan.model.get("alias", True)))
        aliases = find_aliases(graph, planned_order(graph, plan.model), options)
        absorbed = absorbed_inputs(operator, aliases)
    context = Context(plan, program, executor.kernels, operator, t, frozenset(absorbed))
    quantised = any(n.op_type in ("DequantizeLinear", "QuantizeLinear") for n in context.nodes)
    statements = quantised_calls(context) if quantised else plain_calls(context)
    return context.arrays, statements


def operand_is(plan: Plan, operand: Operand, kind: str) -> bool:
    """Whether an operand's buffer is of a kind."""
    return plan.problem.buffers[operand.buffer].kind == kind


def _load_symbol(plan: Plan, operand: Operand, index: int) -> str:
    """Where the initial bytes of a load come from; NULL where the linker has put them there."""
    read_only = {i for i, tier in enumerate(plan.target.tiers) if tier.read_only}
    if operand_is(plan, operand, "input") or all(s.tier in read_only for s in operand.spans):
        return "NULL"
    return f"load_{index}"


def _data(
    plan: Plan, program: FlatProgram, executor: Executor, regions: tuple[Region, ...]
) -> tuple[str, dict[str, bytes]]:
    """`ullage_data.S`, and the images that it includes."""
    values = {**executor.inputs, **executor.roots}
    images: dict[str, bytes] = {}
    lines = [f"/* Initial memory of {_plain(plan.problem.name)}, by ullage. */"]
    for index, (region, size) in enumerate(zip(regions, arena_bytes(plan), strict=True)):
        if not region.read_only:
            continue
        image = np.full(size, 0xFF, dtype=np.uint8)  # erased flash
        for operand in program.loads:
            data = _initial(plan, operand, values, executor)
            for s in operand.spans:
                if s.tier == index:
                    image[s.address : s.address + s.size_bytes] = data[
                        s.start_byte : s.start_byte + s.size_bytes
                    ]
        name = f"ullage_{region.name}.bin"
        images[name] = image.tobytes()
        lines += [f'  .section .ullage_{region.name}, "a", %progbits', f'  .incbin "{name}"']
    for i, operand in enumerate(program.loads):
        if _load_symbol(plan, operand, i) == "NULL" and not operand_is(plan, operand, "input"):
            continue
        name = f"ullage_load_{i}.bin"
        images[name] = _initial(plan, operand, values, executor).tobytes()
        lines += [
            f'  .section .ullage_load.{i}, "aw", %progbits',
            "  .balign 32",
            f"  .global load_{i}",
            f"load_{i}: /* {_plain(operand.name)} */",
            f'  .incbin "{name}"',
        ]
    return "\n".join([*lines, ""]), images


def _initial(
    plan: Plan, operand: Operand, values: Mapping[str, Array], executor: Executor
) -> Array:
    """Bytes of a buffer before the first step."""
    buffer = plan.problem.buffers[operand.buffer]
    data = np.zeros(buffer.size_bytes, dtype=np.uint8)
    for value in buffer.values:
        if value.name in values:
            array = values[value.name]
            laid_out = as_planned(array, executor.imported.graph.values[value.name], value.layout)
            data[value.start_byte : value.end_byte] = as_bytes(laid_out)
    return data


def as_planned(array: Array, value: Value, layout: Layout | None) -> Array:
    """An array's elements in the order in which a plan lays them out."""
    if layout is None:
        return array
    return array.reshape(-1)[LaidOut(value, layout).element_order()]


def _linker_script(plan: Plan, regions: tuple[Region, ...]) -> str:
    """`ullage.ld`: a region for each tier, as large as the target says."""
    lines = [
        f"/* Memory of {_plain(plan.problem.name)} on {_plain(plan.target.name)}, by ullage. */",
        "MEMORY {",
        *(
            f"  {r.name.upper()} (rwx) : ORIGIN = {r.address:#010x}, LENGTH = {size}"
            for r in (CODE, DATA, *regions)
            for size in [_whole(r.size_bytes)]
        ),
        "}",
        "ENTRY(ullage_reset)",
        "SECTIONS {",
        "  .code : {",
        "    ullage_code_begin = .;",
        "    KEEP(*(.vectors))",
        "    *(.text .text.* .rodata .rodata.*)",
        "    . = ALIGN(4);",
        "    ullage_data_load = .;",
        "  } > ITCM",
        "  .data : AT (ullage_data_load) {",
        "    ullage_ram_begin = .;",
        "    ullage_data_begin = .;",
        "    *(.data .data.*)",
        "    . = ALIGN(4);",
        "    ullage_data_end = .;",
        "  } > DATA",
        "  .loads : AT (ADDR(.loads)) {",
        "    *(.ullage_load.*)",
        "  } > DATA",
        "  .bss (NOLOAD) : ALIGN(8) {",
        "    ullage_bss_begin = .;",
        "    *(.bss .bss.* COMMON)",
        "    . = ALIGN(4);",
        "    ullage_bss_end = .;",
        f"    . = ALIGN({PAGE_BYTES}) + {STACK_BYTES};",
        "    ullage_stack_top = .;",
        "    ullage_ram_end = .;",
        "  } > DATA",
    ]
    lines.append(f"  ullage_code_end = ALIGN(ullage_data_load + SIZEOF(.data), {PAGE_BYTES});")
    for region, macro, size in zip(regions, macro_names(plan), arena_bytes(plan), strict=True):
        held = "" if region.read_only else " (NOLOAD)"
        lines += [
            f"  .ullage_{region.name}{held} : {{ /* {macro}: {size} bytes of the plan */",
            f"    ullage_{region.name}_begin = .;",
            f"    KEEP(*(.ullage_{region.name}))",
            f"    . = ullage_{region.name}_begin + {size};",
            f"    . = ALIGN({MPU_BYTES});",
            f"    ullage_{region.name}_end = .;",
            f"  }} > {region.name.upper()}",
        ]
    return "\n".join(
        [*lines, "  /DISCARD/ : { *(.ARM.exidx* .ARM.attributes* .comment) }", "}", ""]
    )


def _whole(size_bytes: int) -> int:
    """A size in whole granules of the memory protection unit."""
    return -(-size_bytes // MPU_BYTES) * MPU_BYTES


def _array(declaration: str, items: list[str]) -> str:
    rows = "".join(f"  {item},\n" for item in items or ["NULL"])
    return f"{declaration} = {{\n{rows}}};"


def _plain(text: str) -> str:
    """A name inside a C comment or a linker script."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")
