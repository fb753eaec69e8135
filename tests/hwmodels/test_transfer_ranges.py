"""Every transfer that a plan makes is one range of addresses at both ends, or charged as several.

Counted byte by byte here: the address of each byte at the source and at the destination.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.models import model_file
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.plan import Plan, Transfer
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import score
from ullage.hwmodels.traffic import (
    dma_charges,
    further_ranges,
    look_up_charges,
    operand_charges,
)

RANGE_S = 1.0


# `residual` with its first convolution in four tiles of rows and columns, the second in stripes.
TILES = Schedule(
    "tiles",
    (
        part_of(0, {}),
        *(part_of(1, {2: (y, y + 4), 3: (x, x + 4)}) for y in (0, 4) for x in (0, 4)),
        part_of(2, {2: (0, 4)}),
        part_of(2, {2: (4, 8)}),
        part_of(3, {}),
    ),
)


def plan_of(name: str, target: str, solver: str, fast_bytes: int, schedule: str | Schedule) -> Plan:
    options = CompileOptions(
        target=target, solver=solver, fast_memory_bytes=fast_bytes, schedule=schedule
    )
    return compile_model(model_file(name), options).plan


def addresses(plan: Plan, transfer: Transfer, tier: str) -> np.ndarray:
    """Address of each byte of a transfer in a tier while it moves; no byte is in two places."""
    first, last = transfer.moves[0][0], transfer.moves[-1][0]
    size = transfer.end_byte - transfer.start_byte
    at = np.full(size, -1)
    for r in plan.residencies:
        begun = r.ready <= first if tier == transfer.source else r.ready > last
        if (r.buffer, r.tier) == (transfer.buffer, tier) and r.start <= first < r.end and begun:
            low, high = max(r.start_byte, transfer.start_byte), min(r.end_byte, transfer.end_byte)
            if low < high:
                here = slice(low - transfer.start_byte, high - transfer.start_byte)
                at[here] = np.arange(low, high) - r.start_byte + r.offset
    assert (at >= 0).all()
    return at


def ranges(plan: Plan, transfer: Transfer) -> int:
    """Ranges of addresses of a transfer that are contiguous at both ends."""
    both = [addresses(plan, transfer, tier) for tier in (transfer.source, transfer.destination)]
    return 1 + int(np.any([np.diff(at) != 1 for at in both], axis=0).sum())


def timed(target: Target) -> Target:
    links = tuple(replace(link, range_setup_s=RANGE_S) for link in target.links)
    return replace(target, links=links)


# Model, target, solver, bytes of fast memory, schedule, ranges of the transfer with most of them.
CASES = [
    ("residual", "edge-npu-spm", "msa", 4096, "whole", 1),
    ("rows", "edge-npu", "fluid", 1024, "whole", 1),
    ("residual", "edge-npu-spm", "fluid", 4096, TILES, 2),
    ("residual", "edge-npu-spm", "greedy", 2048, TILES, 2),
    ("rows", "edge-npu-spm", "fluid", 4096, "whole", 2),
]


@pytest.mark.parametrize(("name", "target", "solver", "fast_bytes", "schedule", "most"), CASES)
def test_transfers_are_contiguous_or_charged_as_several_ranges(
    name: str, target: str, solver: str, fast_bytes: int, schedule: str | Schedule, most: int
) -> None:
    plan = plan_of(name, target, solver, fast_bytes, schedule)
    counted = [ranges(plan, transfer) for transfer in plan.transfers]
    assert max(counted) == most
    slow = replace(plan, problem=plan.problem.on(timed(plan.target)))
    assert further_ranges(slow) == [number - 1 for number in counted]
    charged = dma_charges(slow).ranges
    assert charged.sum() == sum(counted) - len(counted)
    # A second for each: a step waits for the link with most of them, beside all else.
    rows = look_up_charges(operand_charges(slow), slow.target, len(slow.problem.steps)).ranges
    assert bool(rows.any()) == (name == "rows" and target == "edge-npu-spm")  # a range for each row
    charged = charged + rows
    longer = score(slow).latency_s - score(plan).latency_s
    assert longer == pytest.approx(charged.max(axis=0).sum() * RANGE_S, abs=score(plan).latency_s)
