"""The plan as C11 tables, for firmware that executes it (a player is in `examples/`)."""

import re
from collections.abc import Iterable, Sequence

from ullage.compiler.emit.c_parts import TYPES as PART_TYPES
from ullage.compiler.emit.c_parts import range_rows, value_rows
from ullage.compiler.emit.program import FlatProgram, Operand, program_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP

# Names of the two files.
HEADER, SOURCE = "ullage_plan.h", "ullage_plan.c"

# Field by field what the rows below hold; sizes and addresses are in bytes.
_TYPES = """\
typedef struct { const char *name; uint64_t arena_bytes, capacity_bytes, alignment; } ullage_tier;
typedef struct { const char *name; uint64_t size_bytes; } ullage_buffer;
/* Contiguous bytes of a buffer, the first of them number `start_byte`, at an address of a tier. */
typedef struct { uint32_t tier; uint64_t address, start_byte, size_bytes; } ullage_span;
/* What an operator reads or writes: spans [first_span, first_span + spans), in byte order. */
typedef struct {
  const char *name;
  uint32_t buffer, write, first_span, spans;
} ullage_operand;
/* A DMA path from one tier to another; two may join the same tiers: two queues. */
typedef struct { const char *name; uint32_t source, destination; } ullage_link;
/* One contiguous copy by DMA over a link; all copies of a step run beside the step's operator. */
typedef struct {
  uint32_t step, source, destination, link;
  uint64_t source_address, destination_address, size_bytes;
} ullage_copy;
/* Step t: an operator (`runs`) with its operands, reads first, and its copies. A part of an
   operator makes the ranges [first_range, +ranges) of its result; without ranges it makes all. */
typedef struct {
  const char *name;
  uint32_t runs, first_operand, operands, first_copy, copies;
  uint64_t workspace_address, workspace_bytes;
  int32_t operator_index; /* in the model; -1 where DMA alone runs */
  uint32_t first_range, ranges;
} ullage_step;
/* Space of a tier that a slice of a buffer holds during steps [start, end); data from `ready`. */
typedef struct {
  uint32_t buffer, tier, start, ready, end;
  uint64_t address, start_byte, size_bytes;
} ullage_residency;
"""


def c_files(plan: Plan) -> tuple[str, str]:
    """Texts of the header and of the tables of a legal plan.

    Raises:
        VerificationError: bytes are nowhere: the plan is illegal.
    """
    program = program_of(plan)
    tables = _tables(plan, program)
    return _header(plan, program, tables), _source(plan, tables)


def arena_bytes(plan: Plan) -> list[int]:
    """For each tier the bytes that the plan needs there, workspace at the top included."""
    tiers = plan.target.tiers
    used = dict.fromkeys((tier.name for tier in tiers), 0)
    for r in plan.residencies:
        used[r.tier] = max(used[r.tier], r.offset + r.end_byte - r.start_byte)
    if any(step.workspace_bytes for step in plan.problem.steps):
        used[tiers[0].name] = tiers[0].capacity_bytes
    return [used[tier.name] for tier in tiers]


def _chip_capacities(plan: Plan) -> list[int]:
    """For each tier the bytes that the chip has, though a plan of `peak` may need more."""
    capacities = [tier.capacity_bytes for tier in plan.target.tiers]
    if plan.chip_fast_memory_bytes is not None and plan.shortfall:
        capacities[0] = plan.chip_fast_memory_bytes
    return capacities


def macro_names(plan: Plan) -> list[str]:
    """An upper-case C name for each tier, all different."""
    names: list[str] = []
    for index, tier in enumerate(plan.target.tiers):
        name = re.sub(r"[^A-Z0-9]", "_", tier.name.upper())
        while name in names:
            name = f"{name}_{index}"
        names.append(name)
    return names


# A C array: the type of its elements, its name, its rows.
_Table = tuple[str, str, list[str]]


def _tables(plan: Plan, program: FlatProgram) -> list[_Table]:
    problem = plan.problem
    operands: list[Operand] = [o for step in program.operands for o in step]
    operands += [*program.loads, *program.outputs]
    by_end = sorted(range(len(plan.residencies)), key=lambda i: plan.residencies[i].end)
    by_start = sorted(range(len(plan.residencies)), key=lambda i: plan.residencies[i].start)
    tier = plan.target.tier_index
    values, cuts = value_rows(plan)
    return [
        (
            "ullage_tier",
            "ullage_tiers",
            [
                f"{_text(t.name)}, ULLAGE_{m}_ARENA_BYTES, ULLAGE_{m}_CAPACITY_BYTES, "
                f"{t.alignment_bytes}"
                for t, m in zip(plan.target.tiers, macro_names(plan), strict=True)
            ],
        ),
        (
            "ullage_link",
            "ullage_links",
            [_row(k.name, tier[k.source], tier[k.destination]) for k in plan.target.links],
        ),
        ("ullage_buffer", "ullage_buffers", [_row(b.name, b.size_bytes) for b in problem.buffers]),
        ("ullage_step", "ullage_steps", _step_rows(plan, program)),
        ("ullage_range", "ullage_ranges", [_row(*fields) for fields in range_rows(plan)]),
        ("ullage_value", "ullage_values", [_row(*fields) for fields in values]),
        ("ullage_cut", "ullage_cuts", [_row(*fields) for fields in cuts]),
        ("ullage_operand", "ullage_operands", _operand_rows(operands)),
        (
            "ullage_span",
            "ullage_spans",
            [
                _row(s.tier, s.address, s.start_byte, s.size_bytes)
                for o in operands
                for s in o.spans
            ],
        ),
        (
            "ullage_copy",
            "ullage_copies",
            [
                _row(
                    c.step,
                    c.source,
                    c.destination,
                    c.link,
                    c.source_address,
                    c.destination_address,
                    c.size_bytes,
                )
                for c in program.copies
            ],
        ),
        (
            "ullage_residency",
            "ullage_residencies",
            [
                _row(
                    r.buffer,
                    tier[r.tier],
                    r.start,
                    r.ready,
                    r.end,
                    r.offset,
                    r.start_byte,
                    r.end_byte - r.start_byte,
                )
                for r in plan.residencies
            ],
        ),
        ("uint32_t", "ullage_opening", [str(i) for i in by_start]),
        ("uint32_t", "ullage_closing", [str(i) for i in by_end]),
    ]


def _step_rows(plan: Plan, program: FlatProgram) -> list[str]:
    copies = [0] * len(plan.problem.steps)
    for copy in program.copies:
        copies[copy.step] += 1
    rows, operand, first_copy, first_range = [], 0, 0, 0
    capacity = plan.target.fastest.capacity_bytes
    for t, step in enumerate(plan.problem.steps):
        operands = len(program.operands[t])
        rows.append(
            _row(
                step.name,
                int(step.kind != DMA_STEP),
                operand,
                operands,
                first_copy,
                copies[t],
                capacity - step.workspace_bytes if step.workspace_bytes else 0,
                step.workspace_bytes,
                step.operator,
                first_range,
                len(step.ranges),
            )
        )
        operand += operands
        first_range += len(step.ranges)
        first_copy += copies[t]
    return rows


def _operand_rows(operands: Iterable[Operand]) -> list[str]:
    rows, span = [], 0
    for o in operands:
        rows.append(_row(o.name, o.buffer, int(o.write), span, len(o.spans)))
        span += len(o.spans)
    return rows


def _header(plan: Plan, program: FlatProgram, tables: Sequence[_Table]) -> str:
    first_load = sum(map(len, program.operands))
    buffers, steady_state = plan.problem.buffers, plan.problem.steady_state
    remains = [b.persistent and (steady_state or not b.constant) for b in buffers]
    loop_carried = sum(remains[o.buffer] for o in program.loads)
    figures = {f"{name.upper()}": len(rows) for _, name, rows in tables}
    figures |= {
        "ULLAGE_FIRST_LOAD": first_load,
        "ULLAGE_LOADS": len(program.loads),
        "ULLAGE_FIRST_CARRIED": first_load + len(program.loads) - loop_carried,
        "ULLAGE_CARRIED": loop_carried,
        "ULLAGE_FIRST_OUTPUT": first_load + len(program.loads),
        "ULLAGE_OUTPUTS": len(program.outputs),
        "ULLAGE_DMA_BYTES": sum(c.size_bytes for c in program.copies),
    }
    lines = [
        _comment(f"Memory plan of {plan.problem.name} for {plan.target.name}, by ullage."),
        "/* Steps are counted from 0, intervals are half-open, addresses are bytes from the start",
        "   of a tier. Before step 0 operands [ULLAGE_FIRST_LOAD, +ULLAGE_LOADS) hold inputs and",
        "   weights; after the last the operands [ULLAGE_FIRST_OUTPUT, +ULLAGE_OUTPUTS) hold the",
        "   outputs, and the operands [ULLAGE_FIRST_CARRIED, +ULLAGE_CARRIED) the weights that the",
        "   next inference finds there (steady state). Residencies listed by first and by last",
        "   step: ullage_opening, ullage_closing. */",
        "#ifndef ULLAGE_PLAN_H",
        "#define ULLAGE_PLAN_H",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        *(f"#define {name} {value}" for name, value in figures.items()),
        "/* Define ULLAGE_..._CAPACITY_BYTES to check the plan against your memory. */",
    ]
    for index, (capacity, macro, arena) in enumerate(
        zip(_chip_capacities(plan), macro_names(plan), arena_bytes(plan), strict=True)
    ):
        lines += [
            f"#define ULLAGE_TIER_{macro} {index}",
            f"#define ULLAGE_{macro}_ARENA_BYTES {arena}",
            f"#ifndef ULLAGE_{macro}_CAPACITY_BYTES",
            f"#define ULLAGE_{macro}_CAPACITY_BYTES {capacity}",
            "#endif",
        ]
    if plan.shortfall:
        lines.append(_comment(f"{plan.shortfall}: it does not compile unless you have that much."))
    lines += [_TYPES.rstrip(), PART_TYPES.rstrip()]
    lines += [f"extern const {kind} {name}[];" for kind, name, _ in tables]
    lines += ["#ifdef __cplusplus", "}", "#endif", "#endif", ""]
    return "\n".join(lines)


def _source(plan: Plan, tables: Sequence[_Table]) -> str:
    lines = [
        _comment(f"Memory plan of {plan.problem.name} for {plan.target.name}, by ullage."),
        f'#include "{HEADER}"',
    ]
    lines += [
        f"_Static_assert(ULLAGE_{macro}_ARENA_BYTES <= ULLAGE_{macro}_CAPACITY_BYTES, "
        f'"the plan needs more {macro} than there is");'
        for macro in macro_names(plan)
    ]
    for kind, name, rows in tables:
        scalar = kind == "uint32_t"
        # C has no empty arrays: a table without rows gets one of zeros, and its count is 0.
        body = rows or ["0"]
        lines.append(f"const {kind} {name}[] = {{")
        lines += [f"  {row}," if scalar else f"  {{{row}}}," for row in body]
        lines.append("};")
        count = f"{name.upper()} == 0 ? 1 : {name.upper()}"
        lines.append(
            f"_Static_assert(sizeof {name} / sizeof *{name} == ({count}), "
            f'"rows of {name} and its count differ");'
        )
    lines.append("")
    return "\n".join(lines)


def _row(*fields: str | int) -> str:
    return ", ".join(_text(f) if isinstance(f, str) else str(f) for f in fields)


def _text(name: str) -> str:
    """A C string literal: printable ASCII as it is, everything else octal."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in name.encode("utf-8", "surrogatepass")
    )
    return f'"{plain}"'


def _comment(text: str) -> str:
    """A C comment; no text can end it early."""
    plain = re.sub(r"[^ -~]", "?", text).replace("*/", "* /").replace("/*", "/ *")
    return f"/* {plain} */"
