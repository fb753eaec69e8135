"""Files of a family: one JSON with decisions and losses, one C header with the table."""

import json
from pathlib import Path
from typing import Any

from ullage.compiler.common.files import make_folder, write_atomic
from ullage.compiler.common.units import counted, percent_above
from ullage.compiler.exchange.solution_file import dump_solution
from ullage.compiler.families.family import Family
from ullage.compiler.families.table import FamilyTable, Position, table_of
from ullage.compiler.ir.plan_json import write_plan

# Names of the files.
FAMILY_FILE, FAMILY_HEADER = "family.json", "ullage_family.h"
# What the field `format` of the JSON is, and its version.
FAMILY_FORMAT, FAMILY_VERSION = "ullage-family", 1
# Flag of a position that is a column of the table, in the C header.
COLUMN_FLAG = 1 << 63


def length_rows(family: Family) -> list[dict[str, Any]]:
    """What each tested length comes to, as JSON."""
    return [
        {
            "length": at.length,
            "bucket": at.bucket,
            "value": at.value,
            "own_value": at.own_value,
            "loss": at.loss,
        }
        for at in family.lengths
    ]


def family_document(family: Family) -> dict[str, Any]:
    """The family as JSON: what it is for, losses, and the table."""
    table, plan = table_of(family), family.buckets[-1].compiled.plan
    return {
        "format": FAMILY_FORMAT,
        "format_version": FAMILY_VERSION,
        "model": plan.problem.name,
        "target": plan.target.name,
        "solver": plan.solver,
        "objective": plan.objective,
        "symbol": family.symbol,
        "tolerance": family.tolerance,
        "lengths": length_rows(family),
        "tiers": [tier.name for tier in plan.target.tiers],
        "steps": [step.name for step in plan.problem.steps],
        "buffers": [buffer.name for buffer in plan.problem.buffers],
        "columns": [list(column) for column in table.columns],
        "buckets": [
            {
                "first": bucket.first,
                "last": bucket.last,
                "residencies": [
                    {
                        "buffer": slot.buffer,
                        "start_byte": _position(slot.start),
                        "end_byte": _position(slot.end),
                        "tier": slot.tier,
                        "offset": slot.offset,
                        "start": slot.first_step,
                        "ready": slot.ready_step,
                        "end": slot.end_step,
                    }
                    for slot in bucket.slots
                ],
                "transfers": [
                    {
                        "buffer": copy.buffer,
                        "start_byte": _position(copy.start),
                        "end_byte": _position(copy.end),
                        "source": copy.source,
                        "destination": copy.destination,
                        "link": copy.link,
                        "moved": [list(pair) for pair in copy.moves],
                    }
                    for copy in bucket.copies
                ],
            }
            for bucket in table.buckets
        ],
    }


def _position(position: Position) -> int | list[int]:
    """A byte, or in brackets the column that has it by length."""
    return position.byte if position.column < 0 else [position.column]


def write_family(family: Family, folder: Path) -> dict[str, str]:
    """Write the JSON, the C header, and the plan of each bucket.

    Args:
        family: the family.
        folder: where to.

    Returns:
        What is written -> path: `json`, `c`, and `plan_LENGTH` for each bucket.
    """
    make_folder(folder)
    paths = {"json": folder / FAMILY_FILE, "c": folder / FAMILY_HEADER}
    write_atomic(paths["json"], json_bytes(family))
    write_atomic(paths["c"], family_header(family).encode("ascii"))
    for bucket in family.buckets:
        path = folder / f"plan_{bucket.last}.json"
        write_plan(bucket.compiled.plan, path)
        paths[f"plan_{bucket.last}"] = path
    return {name: str(path) for name, path in paths.items()}


def json_bytes(family: Family) -> bytes:
    """The JSON file."""
    return json.dumps(family_document(family), separators=(",", ":")).encode()


def single_bytes(family: Family) -> int:
    """What solution files of all tested lengths, one each, take together."""
    return sum(
        len(dump_solution(at.plan, at.plan.problem.name, at.plan.solver, at.value))
        for at in family.lengths
    )


_HEAD = """\
/* Plans of {model} on {target} for {symbol} = {first} to {last}, made by ullage.
   {plans} for {tested}; none is more than {worst} worse than with a plan made for it alone. A
   length in between runs as the next longer one of the table.

   index = ullage_family_index(n); bucket = ullage_family_bucket[index];
   residencies: ullage_family_slots[ullage_family_first_slot[bucket]] to those of the next bucket;
   transfers likewise. Bytes: ullage_family_byte(position, index). What is empty is not there. */
#ifndef ULLAGE_FAMILY_H
#define ULLAGE_FAMILY_H
#include <stddef.h>
#include <stdint.h>

#define ULLAGE_FAMILY_LENGTHS {lengths}
#define ULLAGE_FAMILY_BUCKETS {buckets}
#define ULLAGE_FAMILY_COLUMNS {columns}
#define ULLAGE_FAMILY_COLUMN (UINT64_C(1) << 63) /* flag: the position is a column */

/* A residency: bytes [start, end) of a buffer at offset of tier during steps [first, end). */
typedef struct {{
    uint64_t start, end, offset;
    uint32_t buffer, tier, first_step, ready_step, end_step;
}} ullage_family_slot;
/* A transfer; its moves are ullage_family_moves[first_move] and the following. */
typedef struct {{
    uint64_t start, end;
    uint32_t buffer, source, destination, first_move, moves;
}} ullage_family_copy;
/* With the end of the step, moved bytes of the transfer at the longest length are there. */
typedef struct {{ uint64_t moved; uint32_t step; }} ullage_family_move;
"""

_FUNCTIONS = """\
/* Index of the shortest tested length that is not shorter than n; -1 where n is too long. */
static inline int ullage_family_index(uint32_t n) {
    for (int i = 0; i < ULLAGE_FAMILY_LENGTHS; ++i)
        if (ullage_family_length[i] >= n) return i;
    return -1;
}
/* The byte of a position at the tested length of an index. */
static inline uint64_t ullage_family_byte(uint64_t position, int index) {
    if (!(position & ULLAGE_FAMILY_COLUMN)) return position;
    return ullage_family_column[position & ~ULLAGE_FAMILY_COLUMN][index];
}
/* Bytes that the k-th move of a transfer moves at the tested length of an index. */
static inline uint64_t ullage_family_moved(const ullage_family_copy *copy, uint32_t k, int index) {
    const ullage_family_move *moves = ullage_family_moves + copy->first_move;
    const uint64_t size =
        ullage_family_byte(copy->end, index) - ullage_family_byte(copy->start, index);
    const uint64_t whole = moves[copy->moves - 1].moved, before = k ? moves[k - 1].moved : 0;
    return ullage_family_scaled(moves[k].moved, size, whole) -
           ullage_family_scaled(before, size, whole);
}
#endif
"""

_SCALED = """\
/* moved * size / whole, rounded down, where moved <= whole: no product leaves 64 bits. */
static inline uint64_t ullage_family_scaled(uint64_t moved, uint64_t size, uint64_t whole) {
    uint64_t result = 0, rest = 0;
    for (int bit = 63; bit >= 0; --bit) {
        result <<= 1;
        rest <<= 1;
        if (size >> bit & 1) rest += moved;
        result += rest / whole;
        rest %= whole;
    }
    return result;
}
"""


def family_header(family: Family) -> str:
    """The C header: which plan serves which length, and its decisions with bytes by length."""
    table, plan = table_of(family), family.buckets[-1].compiled.plan
    tiers = {tier.name: number for number, tier in enumerate(plan.target.tiers)}
    slots: list[str] = []
    copies: list[str] = []
    moves: list[str] = []
    first_slot, first_copy = [0], [0]
    for bucket in table.buckets:
        for s in bucket.slots:
            places = (_c(s.start), _c(s.end), f"UINT64_C({s.offset})")
            steps = (s.first_step, s.ready_step, s.end_step)
            slots.append(_row(*places, s.buffer, tiers[s.tier], *steps))
        for c in bucket.copies:
            ends = (tiers[c.source], tiers[c.destination])
            copies.append(_row(_c(c.start), _c(c.end), c.buffer, *ends, len(moves), len(c.moves)))
            moves += [_row(f"UINT64_C({moved})", step) for step, moved in c.moves]
        first_slot.append(len(slots))
        first_copy.append(len(copies))
    head = _HEAD.format(
        model=_comment(plan.problem.name),
        target=_comment(plan.target.name),
        symbol=_comment(family.symbol),
        first=table.lengths[0],
        last=table.lengths[-1],
        plans=counted(len(table.buckets), "plan"),
        tested=counted(len(table.lengths), "tested length"),
        buckets=len(table.buckets),
        lengths=len(table.lengths),
        worst=percent_above(max(0.0, family.worst_loss)),
        columns=max(1, len(table.columns)),
    )
    arrays = [
        _array("uint32_t", "length", table.lengths),
        _array("uint32_t", "bucket", table.bucket_of),
        _array("uint32_t", "first_slot", first_slot),
        _array("uint32_t", "first_copy", first_copy),
        _columns(table),
        _array("ullage_family_slot", "slots", slots or ["{0}"]),
        _array("ullage_family_copy", "copies", copies or ["{0}"]),
        _array("ullage_family_move", "moves", moves or ["{0}"]),
    ]
    return "\n".join([head, *arrays, _SCALED, _FUNCTIONS])


def _c(position: Position) -> str:
    if position.column < 0:
        return f"UINT64_C({position.byte})"
    return f"ULLAGE_FAMILY_COLUMN | {position.column}"


def _row(*fields: object) -> str:
    return "{" + ", ".join(map(str, fields)) + "}"


def _array(kind: str, name: str, entries: "tuple[int, ...] | list[int] | list[str]") -> str:
    body = ",\n".join(f"    {entry}" for entry in entries)
    return f"static const {kind} ullage_family_{name}[] = {{\n{body}\n}};"


def _columns(table: FamilyTable) -> str:
    rows = table.columns or (tuple(0 for _ in table.lengths),)
    body = ",\n".join("    {" + ", ".join(f"UINT64_C({n})" for n in row) + "}" for row in rows)
    sizes = "[ULLAGE_FAMILY_COLUMNS][ULLAGE_FAMILY_LENGTHS]"
    return f"static const uint64_t ullage_family_column{sizes} = {{\n{body}\n}};"


def _comment(text: str) -> str:
    """A name that may stand in a C comment."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain.replace("*/", "*?").replace("/*", "?*").replace("\\", "?")
