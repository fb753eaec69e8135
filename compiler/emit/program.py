"""A plan as a flat program: addresses instead of slices, one row per contiguous copy or operand.

Runtimes should not have to search, so this says at which addresses the bytes of an operand are, and
which addresses DMA copies in which step (docs/plan-semantics.md). The C emitter writes these rows:

    operand of step 3   bytes [0, 512)      at sram + 4096
                        bytes [512, 1024)   at dram + 0
    copy in step 2      dram + 0 -> sram + 4096, 512 bytes, over link 0
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.coverage import Extent, cover
from ullage.compiler.ir.graph import BufferKind
from ullage.compiler.ir.plan import Plan, Residency, Transfer


@dataclass(frozen=True, slots=True)
class Span:
    """Contiguous bytes of a buffer at an address.

    Attributes:
        tier: index into `Target.tiers`.
        address: address of the first byte, in bytes from the start of the tier.
        start_byte: position of the first byte in its buffer.
        size_bytes: number of bytes.
    """

    tier: int
    address: int
    start_byte: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Operand:
    """A range of a buffer that is read or written, and where its bytes are, in byte order.

    Attributes:
        buffer: index into `Problem.buffers`.
        name: name of the value (of the buffer, for loads and outputs).
        write: whether the step writes it.
        spans: where its bytes are.
    """

    buffer: int
    name: str
    write: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Contiguous bytes that DMA copies in one step.

    Attributes:
        step: the step.
        transfer: index into `Plan.transfers`.
        source: index into `Target.tiers`.
        source_address: in bytes from the start of that tier.
        destination: index into `Target.tiers`.
        destination_address: in bytes from the start of that tier.
        size_bytes: number of bytes.
        link: index into `Target.links`: the DMA queue.
    """

    step: int
    transfer: int
    source: int
    source_address: int
    destination: int
    destination_address: int
    size_bytes: int
    link: int


@dataclass(frozen=True)
class FlatProgram:
    """Operands and copies of T steps, what is loaded before them and where outputs are after them.

    Attributes:
        loads: inputs, then weights, then states, where they are before step 0: in their home
            tiers, and in steady state weights in any tier. The bytes of a load may be in several
            tiers.
        operands: T tuples, reads before writes.
        copies: in step order, then as the plan lists transfers, then in byte order.
        outputs: where the outputs are after step T-1.
    """

    loads: tuple[Operand, ...]
    operands: tuple[tuple[Operand, ...], ...]
    copies: tuple[Copy, ...]
    outputs: tuple[Operand, ...]


def program_of(plan: Plan) -> FlatProgram:
    """The program of a legal plan.

    Raises:
        VerificationError: bytes are nowhere; `ullage verify` names the rule broken.
    """
    held = _Held(plan)
    steps = len(plan.problem.steps)
    return FlatProgram(
        loads=tuple(_loads(plan, held)),
        operands=tuple(tuple(_operands(plan, held, t)) for t in range(steps)),
        copies=tuple(_copies(plan, held)),
        outputs=tuple(_outputs(plan, held, steps)),
    )


class _Held:
    """The residencies of each buffer, fastest tier first."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tiers = plan, plan.target.tier_index
        self.links = {link.name: index for index, link in enumerate(plan.target.links)}
        self.by_buffer: list[list[Residency]] = [[] for _ in plan.problem.buffers]
        for r in plan.residencies:
            self.by_buffer[r.buffer].append(r)
        for residencies in self.by_buffer:
            residencies.sort(key=lambda r: self.tiers[r.tier])

    def extents(
        self, buffer: int, begin: int, end: int, suits: Callable[[Residency], bool], when: str
    ) -> list[Extent]:
        """Bytes [begin, end) of a buffer in residencies for which `suits` holds."""
        extents, missing = cover((r for r in self.by_buffer[buffer] if suits(r)), begin, end)
        if missing:
            name = self.plan.problem.buffers[buffer].name
            raise VerificationError(
                f"{when}: bytes {missing[0]} of {name!r} are nowhere; `ullage verify` names the "
                "rule that the plan breaks",
                {"tensor": name},
            )
        return extents

    def spans(self, extents: Iterable[Extent]) -> tuple[Span, ...]:
        """The addresses of extents."""
        return tuple(
            Span(self.tiers[r.tier], r.offset + low - r.start_byte, low, high - low)
            for r, low, high in extents
        )


def _loads(plan: Plan, held: _Held) -> Iterator[Operand]:
    """Inputs, weights, states: at home, and in other tiers where they are from the beginning."""
    kinds: tuple[BufferKind, ...] = ("input", "weight", "state")
    for kind in kinds:
        home = plan.target.home(kind).name
        for index, buffer in enumerate(plan.problem.buffers):
            if buffer.kind != kind:
                continue
            first = [r for r in held.by_buffer[index] if r.start == r.ready == 0]
            extents = held.extents(
                index, 0, buffer.size_bytes, _is_in(home, first), "before step 0"
            )
            extents += [(r, r.start_byte, r.end_byte) for r in first if r.tier != home]
            yield Operand(index, buffer.name, True, held.spans(extents))


def _is_in(tier: str, residencies: Sequence[Residency]) -> Callable[[Residency], bool]:
    return lambda r: r.tier == tier and r in residencies


def _operands(plan: Plan, held: _Held, t: int) -> Iterator[Operand]:
    step = plan.problem.steps[t]
    for use in sorted(step.uses, key=lambda u: u.write):
        extents = held.extents(
            use.buffer,
            use.start_byte,
            use.end_byte,
            lambda r: r.ready <= t < r.end,
            f"step {t} ({step.name})",
        )
        yield Operand(use.buffer, use.value, use.write, held.spans(extents))


def _outputs(plan: Plan, held: _Held, steps: int) -> Iterator[Operand]:
    for index, buffer in enumerate(plan.problem.buffers):
        last = [r for r in held.by_buffer[index] if r.ready <= steps == r.end]
        suits = _is_in(plan.target.home(buffer.kind).name, last)
        for begin, end in buffer.outputs:
            extents = held.extents(index, begin, end, suits, "after the last step")
            yield Operand(index, buffer.name, False, held.spans(extents))


def _copies(plan: Plan, held: _Held) -> Iterator[Copy]:
    moves: list[tuple[int, int, int, int]] = []
    for index, transfer in enumerate(plan.transfers):
        position = transfer.start_byte
        for step, size in transfer.moves:
            moves.append((step, index, position, position + size))
            position += size
    for t, index, begin, end in sorted(moves):
        transfer = plan.transfers[index]
        yield from _copies_of(held, transfer, index, t, (begin, end))


def _copies_of(
    held: _Held, transfer: Transfer, index: int, t: int, moved: tuple[int, int]
) -> Iterator[Copy]:
    """The copies of one move, which is cut wherever the addresses of source or destination jump."""
    when = f"step {t}, DMA over {transfer.link}"
    out = held.extents(
        transfer.buffer,
        *moved,
        lambda r: r.tier == transfer.source and r.ready <= t < r.end,
        when,
    )
    into = held.extents(
        transfer.buffer,
        *moved,
        lambda r: r.tier == transfer.destination and r.start <= t < r.ready,
        when,
    )
    for low, high, r, d in _common(out, into):
        yield Copy(
            t,
            index,
            held.tiers[r.tier],
            r.offset + low - r.start_byte,
            held.tiers[d.tier],
            d.offset + low - d.start_byte,
            high - low,
            held.links[transfer.link],
        )


def _common(
    out: Sequence[Extent], into: Sequence[Extent]
) -> Iterator[tuple[int, int, Residency, Residency]]:
    """Ranges that are in one extent of both lists, in byte order; both cover the same bytes."""
    i = j = 0
    while i < len(out) and j < len(into):
        (r, a, b), (d, x, y) = out[i], into[j]
        low, high = max(a, x), min(b, y)
        if low < high:
            yield low, high, r, d
        i, j = (i + 1, j) if b <= y else (i, j + 1)
