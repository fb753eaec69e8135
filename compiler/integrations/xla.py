"""XLA's buffer lists as problems: what its memory-space assignment (MSA) dumps about buffers.

MSA's debug dump has a CSV of buffers: `buffer_id,buffer_name,alt_mem_benefit,size,definition_time,
use_times,use_names[,is_scoped]`; times are positions in the flattened instruction schedule. Each
time at which something is defined or used becomes an operator:

    buffer a: definition_time 3, use_times 5;7      time 3: writes a
    buffer b: definition_time 5, use_times 7        time 5: reads a, writes b
                                                    time 7: reads a, reads b

docs/passes.md maps the terms. Format: OpenXLA's `memory_space_assignment`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

# Columns that a dump must have.
COLUMNS = ("buffer_id", "buffer_name", "size", "definition_time", "use_times", "use_names")


@dataclass(frozen=True)
class LiveBuffer:
    """A buffer with its definition and uses, in positions of the instruction schedule.

    Attributes:
        name: unique name.
        size_bytes: its size.
        defined: position at which it is written.
        uses: (position, name of the instruction) of each read, ascending.
        kind: `activation` unless the caller knows better; an `output` is live to the end.
        storage: buffers of the same storage have the same number (colocated in XLA's words).
        scoped: scratch memory of the instruction at `defined`, not a value.
    """

    name: str
    size_bytes: int
    defined: int
    uses: tuple[tuple[int, str], ...] = ()
    kind: TensorKind = "activation"
    storage: int | None = None
    scoped: bool = False


@dataclass(frozen=True)
class XlaWork:
    """What an instruction computes, as far as the caller knows."""

    macs: int = 0
    vector_elements: int = 0
    dtype: str = "bfloat16"


def read_buffer_info(
    text: str, kinds: Mapping[str, TensorKind] | None = None
) -> tuple[LiveBuffer, ...]:
    """Buffers of an MSA dump.

    Args:
        text: the CSV with its header.
        kinds: kind of each buffer that is not one of the program's own intermediates, by name. The
            dump does not say which buffers are parameters and results.

    Raises:
        UsageError: a column is missing or a field makes no sense; names the line and the remedy.
    """
    rows = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise UsageError(
            f"not a buffer dump of XLA: no column {', '.join(missing)}; the header must name "
            f"{','.join(COLUMNS)}"
        )
    known = dict(kinds or {})
    buffers = tuple(_buffer(rows.line_num, row, known) for row in rows)
    if known:
        raise UsageError(f"kinds are given of buffers that there are not: {', '.join(known)}")
    return buffers


def _buffer(
    line: int, row: Mapping[str | None, str | None], kinds: dict[str, TensorKind]
) -> LiveBuffer:
    fields = {key: row.get(key) or "" for key in (*COLUMNS, "is_scoped")}
    name = fields["buffer_name"]
    try:
        times = [int(t) for t in fields["use_times"].split(";") if t]
        names = [n for n in fields["use_names"].split(";") if n]
        return LiveBuffer(
            name=name,
            size_bytes=int(fields["size"]),
            defined=int(fields["definition_time"]),
            uses=tuple(sorted(zip(times, names, strict=True))),
            kind=kinds.pop(name, "activation"),
            storage=int(fields["buffer_id"]),
            scoped=fields["is_scoped"] == "1",
        )
    except ValueError as error:
        raise UsageError(
            f"buffer dump, line {line} ({name!r}): {error}; sizes and times are whole numbers, and "
            "there is one use name for each use time"
        ) from error


def problem_from_live_buffers(
    name: str,
    buffers: Sequence[LiveBuffer],
    target: Target,
    work: Mapping[int, XlaWork] | None = None,
) -> Problem:
    """A problem from buffers with definition and use times.

    A buffer that is defined where another one of the same storage is used may overwrite it. Inputs
    and weights are there before the first step, whatever their definition time.

    Args:
        name: name of the program.
        buffers: in any order.
        target: chip to plan for.
        work: time -> what the instruction at that time computes; nothing where a time is missing,
            so that memory alone is timed.

    Raises:
        UsageError: names are not unique, a buffer is used before it is defined, or `work` names a
            time at which nothing happens.
    """
    initial = {b.name for b in buffers if b.kind in {"input", "weight"}}
    tensors = [Tensor(b.name, b.size_bytes, b.kind) for b in buffers if not b.scoped]
    reads: dict[int, list[LiveBuffer]] = {}
    writes: dict[int, list[LiveBuffer]] = {}
    labels: dict[int, str] = {}
    for b in buffers:
        if b.name not in initial:
            writes.setdefault(b.defined, []).append(b)
            labels.setdefault(b.defined, b.name)
        for time, user in b.uses:
            if not b.scoped:
                reads.setdefault(time, []).append(b)
                # "fusion.3, operand 0 {}": the instruction's name ends at the comma
                labels[time] = user.split(",", maxsplit=1)[0].strip()
    work_at = dict(work or {})
    operators = [
        _operator(
            f"{labels[time]}@{time}",
            reads.get(time, ()),
            writes.get(time, ()),
            work_at.pop(time, XlaWork()),
        )
        for time in sorted({*reads, *writes})
    ]
    if work_at:
        raise UsageError(
            f"{name}: work is given at times when nothing happens: {sorted(work_at)[:5]}"
        )
    return problem_from_lists(name, tensors, operators, target)


def _operator(
    label: str, reads: Sequence[LiveBuffer], writes: Sequence[LiveBuffer], work: XlaWork
) -> Op:
    results = [b for b in writes if not b.scoped]
    return Op(
        label,
        [b.name for b in reads],
        [b.name for b in results],
        macs=work.macs,
        dtype=work.dtype,
        vector_elements=work.vector_elements,
        workspace_bytes=sum(b.size_bytes for b in writes if b.scoped),
        in_place=_overwritten(reads, results),
    )


def _overwritten(reads: Sequence[LiveBuffer], results: Sequence[LiveBuffer]) -> dict[str, str]:
    """Result -> the operand of the same storage and size that it may overwrite."""
    operand_of: dict[str, str] = {}
    for b in results:
        for a in reads:
            same = b.storage is not None and a.storage == b.storage and a.kind == "activation"
            if same and a.size_bytes == b.size_bytes and a.name not in operand_of.values():
                operand_of[b.name] = a.name
                break
    return operand_of
