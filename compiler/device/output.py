"""What firmware prints and writes: a line for each result, and the results' bytes."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.emit.program import FlatProgram, Operand

_LINE = re.compile(r"^(operator|output) (\d+)(?: (\d+))? 0x([0-9a-f]{8})$")


@dataclass(frozen=True)
class Result:
    """A result of an operator, or an output of the model.

    Attributes:
        inference: number of the inference, from 1.
        step: step of the operator; None for an output of the model.
        operand: what was written, and where.
        crc32: CRC-32 of its bytes, as the processor computed it.
        data: its bytes, in byte order.
    """

    inference: int
    step: int | None
    operand: Operand
    crc32: int
    data: bytes


def results_of(printed: str, dumped: bytes, program: FlatProgram) -> list[Result]:
    """The results that firmware printed and dumped.

    Args:
        printed: its text.
        dumped: `results.bin`.
        program: the plan's addresses.

    Raises:
        VerificationError: lines and bytes do not agree.
    """
    results: list[Result] = []
    position, inference = 0, 1
    lines = [found for line in printed.splitlines() if (found := _LINE.match(line.strip()))]
    after_output = False
    for found in lines:
        kind, index, number, crc = found.groups()
        if kind == "operator" and after_output:
            inference += 1
        after_output = kind == "output"
        operands: Sequence[Operand] = program.outputs
        if kind == "operator":
            operands = program.operands[int(index)]
        operand = operands[int(number if kind == "operator" else index)]
        size = sum(span.size_bytes for span in operand.spans)
        data = dumped[position : position + size]
        position += size
        if zlib.crc32(data) != int(crc, 16):
            raise VerificationError(f"bytes of {operand.name!r} do not have the printed CRC-32")
        step = int(index) if kind == "operator" else None
        results.append(Result(inference, step, operand, int(crc, 16), data))
    if position != len(dumped):
        raise VerificationError("the firmware wrote other bytes than it printed results")
    return results
