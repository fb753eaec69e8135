"""From a graph in an order to a program: steps, buffers and ranged uses.

Values become ranges of buffers, operators become steps that use those ranges. An operator that only
arranges bytes (here a Concat in place) vanishes:

    graph                  buffers after `find_aliases`         steps
                                                                0  start    DMA-only
    conv1 -> a             c, 128 bytes: a at [0, 64),          1  conv1    write c [0, 64)
    conv2 -> b                           b at [64, 128)         2  conv2    write c [64, 128)
    Concat(a, b) -> c
    pool(c) -> d           d, 32 bytes                          3  pool     read c [0, 128),
                                                                            write d [0, 32)
                                                                4  finish   DMA-only

On targets where operands must be brought to the fastest tier, two DMA-only steps stand between any
two operators, one to empty memory and one to fill it.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ullage.compiler.ir.graph import BufferKind, Graph, Operator, Sharing, Value
from ullage.compiler.ir.program import (
    DMA_STEP,
    Buffer,
    DmaSteps,
    PlacedValue,
    Program,
    Step,
    Use,
)
from ullage.compiler.ir.states.flow import state_layouts
from ullage.compiler.lowering.alias_proof import check_aliases
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.dataflow import absorbed_inputs, written_ranges
from ullage.compiler.lowering.layouts import LaidOut
from ullage.compiler.lowering.part_work import operator_step, patch_work, whole_work

# Of a target whose operators reach all operands at home.
ONE_AT_EACH_END = DmaSteps()


def build_program(
    graph: Graph,
    order: Sequence[int],
    *,
    order_name: str = "model",
    aliases: AliasOptions | None = None,
    dma_steps: DmaSteps = ONE_AT_EACH_END,
    steady_state: bool = False,
) -> Program:
    """The program of a graph in an order: operators as steps, values as ranges of buffers.

    Args:
        graph: the graph.
        order: every operator index once, in a topological order.
        order_name: how the order was chosen.
        aliases: what may share storage, default everything.
        dma_steps: how many DMA-only steps stand between operators and at both ends.
        steady_state: the steps repeat for ever.

    Raises:
        VerificationError: the alias decision would destroy data: a defect of `find_aliases`.
    """
    sharing = find_aliases(graph, order, aliases or AliasOptions())
    check_aliases(graph, order, sharing)
    numbers = buffer_numbers(graph, sharing)
    steps = end_steps("start", dma_steps)
    for index in order:
        operator = graph.operators[index]
        if operator.name in sharing.elided:
            continue
        if len(steps) > dma_steps.at_ends:
            steps += steps_before(operator.name, dma_steps)
        uses = _uses(graph, operator, sharing, numbers)
        work = whole_work(operator)
        share = patched_share(graph, operator, sharing)
        if share is not None:
            work = patch_work(operator, share)
        steps.append(operator_step(operator, index, work, uses=uses))
    steps += end_steps("finish", dma_steps)
    layouts = {
        name: LaidOut(graph.values[name], layout) for name, layout in state_layouts(graph).items()
    }
    buffers = buffers_of(graph, sharing, numbers, layouts)
    return Program(graph.name, order_name, tuple(steps), buffers, steady_state)


def end_steps(name: str, dma_steps: DmaSteps) -> list[Step]:
    """The DMA-only steps at one end of a program, `start` or `finish`."""
    numbers = range(1, dma_steps.at_ends + 1)
    return [Step(name if n == 1 else f"{name} {n}", DMA_STEP) for n in numbers]


def steps_before(name: str, dma_steps: DmaSteps) -> list[Step]:
    """The DMA-only steps between an operator and the one of this name that runs next."""
    if not dma_steps.between:
        return []
    return [Step(f"empty before {name}", DMA_STEP), Step(f"fill before {name}", DMA_STEP)]


def _uses(
    graph: Graph, operator: Operator, sharing: Aliases, numbers: dict[str, int]
) -> tuple[Use, ...]:
    """What an operator reads, then what it writes, as ranges of buffers.

    Args:
        graph: the graph.
        operator: the operator.
        sharing: where each value lies.
        numbers: buffer name -> index into `Program.buffers`.
    """
    accessed = dict(operator.accessed_bytes)
    absorbed = absorbed_inputs(operator, sharing)
    patches = [s for s in operator.sharings if is_patch(s, sharing)]
    written = {s.output: s.written_bytes or 0 for s in patches}
    # What is not written over stays; a ScatterND does not read it.
    accessed |= {s.input: 0 for s in patches if not s.is_read}
    reads: list[Use] = []
    for name in operator.inputs:
        size = graph.values[name].size_bytes
        if name in absorbed or size == 0:
            continue
        root, offset = sharing.buffer_of[name]
        read = accessed.get(name, size)
        is_look_up = looks_up(graph, operator, name)
        reads.append(Use(numbers[root], offset, offset + size, False, read, name, is_look_up))
    writes: list[Use] = []
    for name in operator.outputs:
        root, offset = sharing.buffer_of[name]
        for low, high in written_ranges(graph, operator, name, absorbed):
            size = min(high - low, written.get(name, high - low))
            writes.append(Use(numbers[root], offset + low, offset + high, True, size, name))
    return (*merged_uses(reads), *merged_uses(writes))


def looks_up(graph: Graph, operator: Operator, name: str) -> bool:
    """Whether an operator reads rows of a weight that its indices name."""
    return name in operator.looked_up and graph.values[name].kind == "weight"


def is_patch(shared: Sharing, sharing: Aliases) -> bool:
    """Whether an operator writes a few rows into an operand, which stays where it is."""
    if shared.written_bytes is None:
        return False
    return sharing.buffer_of[shared.input] == sharing.buffer_of[shared.output]


def patched_share(graph: Graph, operator: Operator, sharing: Aliases) -> Fraction | None:
    """The share of a result that its operator writes into an operand; None where it copies that."""
    for shared in operator.sharings:
        size_bytes = graph.values[shared.output].size_bytes
        if is_patch(shared, sharing) and not shared.is_read and size_bytes:
            return Fraction(shared.written_bytes or 0, size_bytes)
    return None


def merged_uses(uses: Sequence[Use]) -> list[Use]:
    """Uses of one direction, overlapping ranges of a buffer joined into one."""
    result: list[Use] = []
    for use in sorted(uses, key=lambda u: (u.buffer, u.start_byte)):
        last = result[-1] if result else None
        if last is None or last.buffer != use.buffer or use.start_byte >= last.end_byte:
            result.append(use)
            continue
        end = max(last.end_byte, use.end_byte)
        accessed = min(end - last.start_byte, last.accessed_bytes + use.accessed_bytes)
        is_look_up = last.look_up and use.look_up
        result[-1] = Use(
            use.buffer, last.start_byte, end, use.write, accessed, last.value, is_look_up
        )
    return result


def buffer_numbers(graph: Graph, sharing: Aliases) -> dict[str, int]:
    """Buffer name -> index into `Program.buffers`, in the order of the graph's values."""
    used = {n for o in graph.operators for n in (*o.inputs, *o.outputs)} | set(graph.inputs)
    numbers: dict[str, int] = {}
    for name in graph.values:
        if name in used:
            numbers.setdefault(sharing.buffer_of[name][0], len(numbers))
    return numbers


def buffers_of(
    graph: Graph,
    sharing: Aliases,
    numbers: dict[str, int],
    laid_out: Mapping[str, LaidOut] | None = None,
    scattered: Mapping[str, Sequence[tuple[str, int, int]]] | None = None,
) -> tuple[Buffer, ...]:
    """The buffers in the order of `numbers`, with the values in each.

    Args:
        graph: the graph.
        sharing: where each value lies.
        numbers: buffer name -> index into `Program.buffers`.
        laid_out: the layouts of the values that have one.
        scattered: for outputs whose bytes lie apart, as (root, first byte, one past the last).
    """
    layouts = laid_out or {}
    apart = scattered or {}
    members: dict[str, list[tuple[int, Value]]] = {root: [] for root in numbers}
    for name, value in graph.values.items():
        root, offset = sharing.buffer_of[name]
        if root in members:
            members[root].append((offset, value))
    outputs = set(graph.outputs) - apart.keys()
    ends: dict[str, list[tuple[int, int]]] = {}
    for root, low, high in (piece for pieces in apart.values() for piece in pieces):
        ends.setdefault(root, []).append((low, high))
    living = {state.input for state in graph.states}
    buffers: list[Buffer] = []
    for root, inside in members.items():
        size = graph.values[root].size_bytes
        kinds: set[BufferKind] = {value.kind for _, value in inside}
        if any(value.name in living for _, value in inside):
            kinds.add("state")
        ranked: tuple[BufferKind, ...] = ("state", "weight", "input", "output", "activation")
        kind = next(candidate for candidate in ranked if candidate in kinds)
        buffers.append(
            Buffer(
                name=root,
                size_bytes=size,
                kind=kind,
                values=tuple(
                    PlacedValue(
                        value.name,
                        offset,
                        offset + value.size_bytes,
                        layouts[value.name].layout if value.name in layouts else None,
                    )
                    for offset, value in inside
                ),
                outputs=_union(
                    [
                        *((o, o + v.size_bytes) for o, v in inside if v.name in outputs),
                        *ends.get(root, ()),
                    ]
                ),
                row_bytes=layouts[root].row_bytes
                if root in layouts
                else _row_bytes(graph.values[root]),
            )
        )
    return tuple(buffers)


def _union(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges [low, high) sorted, touching ones joined, empty ones left out."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(r for r in ranges if r[0] < r[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _row_bytes(value: Value) -> int:
    """Bytes of a row of the outermost axis longer than 1, the size where there is none."""
    for dim in value.stored_shape:
        if dim > 1:
            return max(1, value.size_bytes // dim)
    return max(1, value.size_bytes)
