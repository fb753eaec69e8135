"""Is the target inside a plan sound? The rules of target files, for targets from anywhere.

A plan's file holds its own target, and programs build targets without a file, so `hwmodels.catalog`
has not checked them.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import get_args

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.ranges import (
    MAX_CELLS,
    MAX_CYCLES,
    MAX_JOULES,
    MAX_RATE,
    MAX_SECONDS,
)
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import (
    Compute,
    GroupsRun,
    KernelCycles,
    Link,
    MacBlocks,
    OutputStage,
    Padding,
    Rereads,
    RowsHold,
    Systolic,
    Target,
    Tier,
)
from ullage.compiler.verify.fields import (
    all_are,
    amount_fault,
    int_fault,
    portion_fault,
    rate_fault,
    ratio_fault,
    share_fault,
    show,
    text_fault,
)

# The kinds of buffers, each of which needs a home tier.
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")

# Fields of `MacBlocks` that are whole numbers above 0.
BLOCK_CYCLES = (
    "command_cycles",
    "input_cycles_per_byte",
    "image_cycles_per_byte",
    "scale_cycles_per_channel",
)
BLOCK_COUNTS = (
    "cores",
    "unit_height",
    "unit_width",
    "unit_channels",
    "dot_channels",
    "step_cycles",
    "weights_per_cycle",
    "block_elements",
    "block_channels",
    "image_burst_bytes",
)


def target_faults(target: object) -> Iterator[str]:
    """Yield what is wrong with a target, in words; tiers first, the rest refers to their names."""
    if not isinstance(target, Target) or not target.tiers or not all_are(target.tiers, Tier):
        yield "the plan needs a Target with a tuple of at least one Tier"
        return
    fault = text_fault("the name of the target", target.name)
    if fault:
        yield fault
    sound = True
    for tier in target.tiers:
        for fault in filter(None, _tier_faults(tier)):
            sound = False
            yield f"tier {show_name(tier.name)} of the target: {fault}"
    names = [tier.name for tier in target.tiers if isinstance(tier.name, str)]
    if len(set(names)) < len(target.tiers):
        yield f"tiers need distinct names, there are {show(names)}"
    elif sound:
        yield from _tier_order_faults(target)
    yield from _link_faults(target, names)
    yield from _home_faults(target, names)
    if not isinstance(target.operand_access, str) or target.operand_access not in (
        "any",
        "fastest",
    ):
        yield f"operand_access must be any or fastest, is {show(target.operand_access)}"
    for field in ("weights_in_fastest", "split_operands", "fuse_pairs"):
        if not isinstance(getattr(target, field), bool):
            yield f"target: {field} must be a bool, is {show(getattr(target, field))}"
    for field in ("bias_dtype", "scale_dtype"):
        dtype = getattr(target, field)
        if dtype is not None and not (isinstance(dtype, str) and dtype in BITS):
            yield f"target: {field} must be a data type or None, is {show(dtype)}"
    if not isinstance(target.padding, Padding):
        yield f"target: padding must be a Padding, is {show(target.padding)}"
    else:
        for field in ("channels_multiple", "columns_multiple"):
            multiple = getattr(target.padding, field)
            fault = int_fault(f"padding.{field}", multiple, 1, MAX_CELLS)
            if fault:
                yield f"target: {fault}"
    fault = ratio_fault("weight_ratio", target.weight_ratio)
    if fault:
        yield f"target: {fault}"
    fault = int_fault("slice_granularity_bytes", target.slice_granularity_bytes, 0)
    if fault:
        yield f"target: {fault}"
    yield from _compute_faults(target.compute)


def show_name(name: object) -> str:
    """A name in quotes, or what stands in its place."""
    return repr(name[:80]) if isinstance(name, str) else show(name)


def _tier_faults(tier: Tier) -> Iterator[str]:
    yield text_fault("its name", tier.name)
    yield int_fault("capacity_bytes", tier.capacity_bytes, 0)
    yield int_fault("alignment_bytes", tier.alignment_bytes, 1)
    for flag in ("addressable", "read_only"):
        if not isinstance(getattr(tier, flag), bool):
            yield f"{flag} must be a bool, is {show(getattr(tier, flag))}"
    yield rate_fault("read_bytes_per_s", tier.read_bytes_per_s)
    if tier.read_only is not True:
        yield rate_fault("write_bytes_per_s", tier.write_bytes_per_s)
    elif tier.write_bytes_per_s != 0:
        # It is never used, but stands in tables beside the others.
        yield rate_fault("write_bytes_per_s", tier.write_bytes_per_s)
    for field in ("read_energy_j_per_byte", "write_energy_j_per_byte"):
        yield amount_fault(field, getattr(tier, field), MAX_JOULES)
    waits = (
        amount_fault("latency_s", tier.latency_s, MAX_SECONDS),
        int_fault("burst_bytes", tier.burst_bytes, 1, MAX_CELLS),
        int_fault("max_outstanding_requests", tier.max_outstanding_requests, 0),
    )
    yield from waits
    if not any(waits):
        yield rate_fault("bytes/s of its requests", min(MAX_RATE, tier.request_bytes_per_s))


def _tier_order_faults(target: Target) -> Iterator[str]:
    """Tiers stand fastest first: solvers, verifier and cost model look in that order."""
    for faster, slower in pairwise(tier.as_served for tier in target.tiers):
        if slower.read_bytes_per_s > faster.read_bytes_per_s:
            yield (
                f"tiers must stand fastest first: {slower.name!r} reads "
                f"{slower.read_bytes_per_s:g} bytes/s, {faster.name!r} before it "
                f"{faster.read_bytes_per_s:g}"
            )


def _link_faults(target: Target, names: list[str]) -> Iterator[str]:
    if not all_are(target.links, Link) or any(
        link.source not in names or link.destination not in names for link in target.links
    ):
        yield f"links must join tiers among {names}"
        return
    labels = [link.name for link in target.links]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        yield f"links need distinct names, there are {show(labels)}"
    for link in target.links:
        where = f"link {show_name(link.name)} of the target"
        if link.source == link.destination:
            yield f"{where}: both ends are {link.source!r}"
        faults = (
            text_fault("its name", link.name) if isinstance(link.name, str) else "",
            rate_fault("bandwidth_bytes_per_s", link.bandwidth_bytes_per_s),
            amount_fault("setup_s", link.setup_s, MAX_SECONDS),
            amount_fault("range_setup_s", link.range_setup_s, MAX_SECONDS),
            amount_fault("energy_j_per_byte", link.energy_j_per_byte, MAX_JOULES),
            int_fault("max_outstanding_transfers", link.max_outstanding_transfers, 1, MAX_CELLS),
        )
        yield from (f"{where}: {fault}" for fault in faults if fault)


def _home_faults(target: Target, names: list[str]) -> Iterator[str]:
    homes = target.homes
    if not isinstance(homes, Mapping) or any(homes.get(kind) not in names for kind in KINDS):
        yield f"homes must name a tier among {names} for each of {', '.join(KINDS)}"
        return
    if set(homes) != set(KINDS):
        yield f"homes are of {', '.join(KINDS)}, there are {show(list(homes))}"


def _compute_faults(compute: object) -> Iterator[str]:
    if not isinstance(compute, Compute) or not isinstance(compute.macs_per_s, Mapping):
        yield "the target needs a Compute with macs_per_s by data type"
        return
    where = "compute unit of the target"
    if not compute.macs_per_s:
        yield f"{where}: macs_per_s needs the rate of at least one data type"
    energies = {} if compute.energy_j_per_mac is None else compute.energy_j_per_mac
    if not isinstance(energies, Mapping):
        yield f"{where}: energy_j_per_mac must map data types to joules, is {show(energies)}"
        energies = {}
    faults = [rate_fault(f"macs_per_s of {d}", rate) for d, rate in compute.macs_per_s.items()]
    faults += [
        amount_fault(f"energy_j_per_mac of {d}", joules, MAX_JOULES)
        for d, joules in energies.items()
    ]
    for dtype in (*compute.macs_per_s, *energies):
        if dtype not in BITS:
            faults.append(f"unknown data type {show(dtype)}")
    faults.append(rate_fault("vector_elements_per_s", compute.vector_elements_per_s))
    faults.append(amount_fault("overhead_s", compute.overhead_s, MAX_SECONDS))
    faults.append(portion_fault("overlap", compute.overlap))
    faults += _model_faults(compute)
    yield from (f"{where}: {fault}" for fault in faults if fault)


def _model_faults(compute: Compute) -> Iterator[str]:
    """What is wrong with the section of a compute model, and with options of the others."""
    grid, blocks, kernels = compute.systolic, compute.mac_blocks, compute.kernel_cycles
    if sum(section is not None for section in (grid, blocks, kernels)) > 1:
        yield "systolic, mac_blocks and kernel_cycles exclude one another: at most one may be given"
    if isinstance(grid, Systolic):
        for field in ("rows", "columns", "arrays"):
            yield int_fault(f"{field} of the systolic array", getattr(grid, field), 1, MAX_CELLS)
        for field in ("load_cycles", "image_lines"):
            yield int_fault(f"{field} of the systolic array", getattr(grid, field), 0, MAX_CELLS)
        yield rate_fault("clock_hz", grid.clock_hz)
        if grid.rows_hold not in get_args(RowsHold) or grid.groups not in get_args(GroupsRun):
            yield f"unknown rows_hold or groups: {show(grid.rows_hold)}, {show(grid.groups)}"
        if not isinstance(grid.double_buffered, bool):
            yield f"double_buffered must be a bool, is {show(grid.double_buffered)}"
    elif grid is not None:
        yield f"systolic must be a Systolic or None, is {show(grid)}"
    if isinstance(blocks, MacBlocks):
        for field in BLOCK_COUNTS:
            yield int_fault(f"{field} of mac_blocks", getattr(blocks, field), 1, MAX_CELLS)
        yield rate_fault("clock_hz", blocks.clock_hz)
        for field in BLOCK_CYCLES:
            yield amount_fault(field, getattr(blocks, field), MAX_CYCLES)
        yield share_fault("command_share", blocks.command_share)
        yield from _table_faults("output_cycles", blocks.output_cycles)
    elif blocks is not None:
        yield f"mac_blocks must be a MacBlocks or None, is {show(blocks)}"
    if isinstance(kernels, KernelCycles):
        yield rate_fault("clock_hz", kernels.clock_hz)
        for name, tables in (("macs", kernels.macs), ("elements", kernels.elements)):
            if not isinstance(tables, Mapping):
                yield f"{name} of kernel_cycles must map data types to tables, is {show(tables)}"
                continue
            for dtype, table in tables.items():
                known = isinstance(dtype, str) and dtype in BITS
                yield "" if known else f"unknown data type {show(dtype)} of kernel_cycles"
                yield from _table_faults(f"{name} of kernel_cycles", table)
    elif kernels is not None:
        yield f"kernel_cycles must be a KernelCycles or None, is {show(kernels)}"
    yield from _reread_faults(compute.rereads)
    yield from _share_faults(compute)


def _reread_faults(rereads: object) -> Iterator[str]:
    """What is wrong with the blocks for which operands are read again."""
    if isinstance(rereads, Rereads):
        for field in ("block_elements", "block_channels", "block_channels_multiple"):
            yield int_fault(f"{field} of rereads", getattr(rereads, field), 1, MAX_CELLS)
        for field in ("weight_bytes", "input_bytes", "input_channels"):
            yield int_fault(f"{field} of rereads", getattr(rereads, field), 0)
    elif rereads is not None:
        yield f"rereads must be a Rereads or None, is {show(rereads)}"


def _share_faults(compute: Compute) -> Iterator[str]:
    """What is wrong with efficiencies and output stage."""
    stage = compute.output_stage
    for name in ("efficiency", "bandwidth_efficiency"):
        shares = getattr(compute, name)
        if isinstance(shares, Mapping):
            for kind, share in shares.items():
                yield share_fault(f"{name} of {show(kind)}", share)
        elif shares is not None:
            yield f"{name} must map kinds to shares, is {show(shares)}"
    if isinstance(stage, OutputStage):
        yield rate_fault("elements_per_s of the output stage", stage.elements_per_s)
        if not all_are(stage.operators, str):
            yield f"operators of the output stage must be texts, are {show(stage.operators)}"
    elif stage is not None:
        yield f"output_stage must be an OutputStage or None, is {show(stage)}"


def _table_faults(name: str, table: object) -> Iterator[str]:
    """What is wrong with a table of cycles."""
    if not isinstance(table, Mapping):
        yield f"{name} must map operators to cycles, is {show(table)}"
        return
    for key, cycles in table.items():
        yield text_fault(f"a key of {name}", key)
        yield amount_fault(f"{name} of {show(key)}", cycles, MAX_CYCLES)
