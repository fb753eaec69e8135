"""`svg`: a static map of the fastest tier, steps across, addresses up, boats of cascades on top."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ullage.compiler.common.files import write_atomic
from ullage.compiler.common.palette import DARK, KINDS, LIGHT, SHADES, css_variables
from ullage.compiler.common.units import format_size
from ullage.compiler.driver.cascades import line_buffers
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary_text import middle_cut
from ullage.compiler.ir.cascades import CascadeSteps, find_cascades
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.program import Buffer

# Size of the map itself, in SVG units.
WIDTH, HEIGHT = 960, 540
# Margins around the map, in SVG units.
LEFT, TOP, RIGHT, BOTTOM = 90, 60, 20, 70
# Ticks of each axis at most.
_TICKS = 8
# Size of rectangles that get a label, at least, and width of one letter, in SVG units.
_MIN_LABEL_WIDTH, _LABEL_HEIGHT, _LETTER_WIDTH = 40.0, 12.0, 6.5
# Letters of a name that is cut, at least.
_MIN_LETTERS = 9

# Height of the boats of cascades and of the names above them, slant of their ends, in SVG units.
BOAT, BOAT_NAME, _SLANT = 34, 16, 6.0
# Width of stripes in SVG units from which on their parts are drawn.
LEAST_STRIPE = 3.0

_STYLE = f"""
:root {{ {css_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {css_variables(DARK)} }} }}
text {{ font: 12px system-ui, sans-serif; fill: var(--ink); }}
.title {{ font-size: 16px; font-weight: 600; }}
.paper {{ fill: var(--panel); }} .grid {{ stroke: var(--line); stroke-width: 1; }}
.slice {{ stroke: var(--panel); stroke-width: 0.75; }} .slice:hover {{ stroke: var(--ink); }}
.label {{ font-size: 10px; fill: var(--on-rect); pointer-events: none; }}
.boat {{ fill: var(--cascade); stroke: var(--soft); }}
.part {{ fill: var(--on-rect); fill-opacity: 0.85; }} .part.odd {{ fill-opacity: 0.5; }}
.workspace {{ fill: none; stroke: var(--ink); stroke-dasharray: 3 2; }}
{" ".join(f"[data-kind={kind}] {{ fill: var(--{kind}); }}" for kind in (*KINDS, "cascade"))}
"""


def emit_svg(compiled: Compiled, folder: Path) -> Path:
    """Write `memory.svg`, one file without scripts or references."""
    path = folder / "memory.svg"
    write_atomic(path, memory_svg(compiled.plan).encode())
    return path


@dataclass(frozen=True)
class _Frame:
    """What of a plan is drawn, and where.

    Attributes:
        first: the first step.
        end: one past the last step.
        addresses: bytes from the bottom to the top of the map.
        top: where the map begins, in SVG units.
    """

    first: int
    end: int
    addresses: int
    top: int

    def x(self, step: float) -> float:
        """Where a step begins."""
        inside = min(max(step, self.first), self.end) - self.first
        return LEFT + WIDTH * inside / (self.end - self.first)

    def y(self, address: float) -> float:
        """Where an address is."""
        return self.top + HEIGHT * (1 - address / self.addresses)


def memory_svg(plan: Plan, steps: tuple[int, int] | None = None) -> str:
    """The residencies of the fastest tier as rectangles, with titles that show under the mouse.

    The address axis ends at the highest address used (workspace included), not at the capacity,
    which the heading states: so a small plan in a large memory is still readable.

    Args:
        plan: a legal plan.
        steps: the first step drawn and one past the last; default all.
    """
    tier = plan.target.fastest
    total = max(1, len(plan.problem.steps))
    first, end = (0, total) if steps is None else steps
    held = [
        (r, is_line)
        for r, is_line in zip(plan.residencies, line_buffers(plan), strict=True)
        if r.tier == tier.name and r.start < r.end and r.start < end and first < r.end
    ]
    used = max((r.offset + r.end_byte - r.start_byte for r, _ in held), default=0)
    if any(step.workspace_bytes for step in plan.problem.steps[first:end]):
        used = tier.capacity_bytes
    cascades = [c for c in find_cascades(plan.program) if c.first < end and first < c.end]
    frame = _Frame(first, end, max(used, 1), TOP + (BOAT + BOAT_NAME if cascades else 0))
    full = (LEFT + WIDTH + RIGHT, frame.top + HEIGHT + BOTTOM)
    title = f"{plan.problem.name} on {plan.target.name}: {tier.name}"
    which = f"{total} steps" if steps is None else f"steps {first} to {end} of {total}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full[0]} {full[1]}" role="img"'
        f" aria-label={quoteattr(_clean(title))}>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{full[0]}" height="{full[1]}"/>',
        _text(
            LEFT,
            24,
            f"{title}, {format_size(frame.addresses)} of {format_size(tier.capacity_bytes)}",
            "title",
        ),
        _text(LEFT, 44, f"solver {plan.solver}; {len(held)} residencies over {which}"),
        *(line for cascade in cascades for line in _boat(plan, cascade, frame)),
        *_axes(frame),
        *(_slice(plan, r, frame, is_line=is_line) for r, is_line in held),
        *_workspaces(plan, frame),
        *_legend(frame, has_lines=any(is_line for _, is_line in held)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _boat(plan: Plan, cascade: CascadeSteps, frame: _Frame) -> Iterator[str]:
    """A boat over the steps of a cascade: operators from top to bottom, a mark for each part."""
    left, right = frame.x(cascade.first), frame.x(cascade.end)
    top = frame.top - BOAT - 4
    slant = min(_SLANT, (right - left) / 5)
    corners = ((left, top), (right, top), (right - slant, top + BOAT), (left + slant, top + BOAT))
    ends = " to ".join(dict.fromkeys((cascade.names[0], cascade.names[-1])))
    yield (
        f'<polygon class="boat" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}">'
        f"<title>{escape(_clean(f'{ends}: {cascade.cut_text}'))}</title></polygon>"
    )
    height = (BOAT - 8) / len(cascade.operators)
    rank = {operator: place for place, operator in enumerate(cascade.operators)}
    is_seen = (right - left) / len(cascade.stripes) >= LEAST_STRIPE
    for t in cascade.steps if is_seen else ():
        if frame.first <= t < frame.end:
            step = plan.problem.steps[t]
            odd = bisect_right(cascade.stripes, t) % 2 == 0
            y = top + 4 + rank[step.operator] * height
            yield (
                f'<rect class="part{" odd" if odd else ""}" x="{frame.x(t):.2f}" y="{y:.2f}"'
                f' width="{frame.x(t + 1) - frame.x(t):.2f}" height="{height:.2f}">'
                f"<title>{escape(_clean(step.name))}</title></rect>"
            )
    letters = int((right - left) / _LETTER_WIDTH)
    name = next(
        (
            text
            for text in (f"{ends}, {cascade.cut_text}", ends, cascade.cut_text)
            if len(text) <= letters
        ),
        "",
    )
    if name:
        yield _text(left, top - 5, name)


def _slice(plan: Plan, r: Residency, frame: _Frame, *, is_line: bool) -> str:
    buffer = plan.problem.buffers[r.buffer]
    size = r.end_byte - r.start_byte
    x, y = frame.x(r.start), frame.y(r.offset + size)
    width, height = frame.x(r.end) - x, frame.y(r.offset) - y
    part = "" if size == buffer.size_bytes else f", bytes [{r.start_byte}, {r.end_byte})"
    names = values_of(buffer, r)
    kind = "line buffer" if is_line else buffer.kind
    caption = (
        f"{buffer.name} ({kind}){part}: {format_size(size)} at {r.offset}, "
        f"steps [{r.start}, {r.end}), ready at {r.ready}"
    )
    if len(names) > 1:
        caption += f"; holds {', '.join(names)}"
    shade, title = SHADES[r.buffer * 7 % len(SHADES)], escape(_clean(caption))
    role = "cascade" if is_line else buffer.kind
    box = (
        f'<rect class="slice" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
        f' data-kind="{role}" fill="{LIGHT[role]}"'
        f' fill-opacity="{shade}"><title>{title}</title></rect>'
    )
    letters = int((width - 6) / _LETTER_WIDTH)
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    if width < _MIN_LABEL_WIDTH or height < _LABEL_HEIGHT:
        return box
    if letters < min(_MIN_LETTERS, len(buffer.name)) + len(more):
        return box  # what is left of the name would say nothing
    label = middle_cut(buffer.name, letters - len(more)) + more
    return box + _text(x + 3, y + height / 2 + 4, label, "label")


def values_of(buffer: Buffer, r: Residency) -> list[str]:
    """Names of the values, one after the other, that share a residency's bytes."""
    return [
        value.name
        for value in buffer.values
        if value.start_byte < r.end_byte and value.end_byte > r.start_byte
    ]


def _workspaces(plan: Plan, frame: _Frame) -> Iterator[str]:
    for t in range(frame.first, min(frame.end, len(plan.problem.steps))):
        step = plan.problem.steps[t]
        if step.workspace_bytes:
            x, y = frame.x(t), frame.y(frame.addresses)
            height = frame.y(frame.addresses - step.workspace_bytes) - y
            caption = escape(
                _clean(f"workspace of {step.name}: {format_size(step.workspace_bytes)}")
            )
            yield (
                f'<rect class="workspace" x="{x:.2f}" y="{y:.2f}" width="{frame.x(t + 1) - x:.2f}"'
                f' height="{height:.2f}"><title>{caption}</title></rect>'
            )


def _axes(frame: _Frame) -> Iterator[str]:
    """Ticks at round numbers: addresses at multiples of a power of two."""
    unit = 1 << max(0, math.ceil(math.log2(frame.addresses / _TICKS)))
    for address in range(0, frame.addresses + 1, unit):
        y = frame.y(address)
        yield f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        label = escape(format_size(address))
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    bottom = frame.top + HEIGHT
    for step in range(frame.first, frame.end + 1, -(-(frame.end - frame.first) // _TICKS)):
        place = f'x="{frame.x(step):.1f}" y="{bottom + 18}"'
        yield f'<text {place} text-anchor="middle">{step}</text>'
    yield _text(LEFT + WIDTH / 2 - 12, bottom + 38, "step")


def _legend(frame: _Frame, *, has_lines: bool) -> Iterator[str]:
    y = frame.top + HEIGHT + 48
    keys: dict[str, str] = {kind: kind for kind in KINDS}
    if has_lines:
        keys["cascade"] = "cascade, line buffer"
    for index, (role, name) in enumerate(keys.items()):
        x = LEFT + 110 * index
        yield (
            f'<rect x="{x}" y="{y}" width="12" height="12" data-kind="{role}"'
            f' fill="{LIGHT[role]}"/>'
        )
        yield _text(x + 18, y + 10, name)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(_clean(text))}</text>'


def _clean(text: str) -> str:
    """A text without the characters that XML 1.0 cannot hold."""
    return (
        "".join(
            c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "?" for c in text
        )
        .replace("\ufffe", "?")
        .replace("\uffff", "?")
    )
