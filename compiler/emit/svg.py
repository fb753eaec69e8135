"""`svg`: a static map of the fastest tier, steps across, addresses up."""

import math
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ullage.compiler.common.files import write_atomic
from ullage.compiler.common.palette import DARK, KINDS, LIGHT, SHADES, css_variables
from ullage.compiler.common.units import format_size
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary_text import middle_cut
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

_STYLE = f"""
:root {{ {css_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {css_variables(DARK)} }} }}
text {{ font: 12px system-ui, sans-serif; fill: var(--ink); }}
.title {{ font-size: 16px; font-weight: 600; }}
.paper {{ fill: var(--panel); }} .grid {{ stroke: var(--line); stroke-width: 1; }}
.slice {{ stroke: var(--panel); stroke-width: 0.75; }} .slice:hover {{ stroke: var(--ink); }}
.label {{ font-size: 10px; fill: var(--on-rect); pointer-events: none; }}
.workspace {{ fill: none; stroke: var(--ink); stroke-dasharray: 3 2; }}
{" ".join(f"[data-kind={kind}] {{ fill: var(--{kind}); }}" for kind in KINDS)}
"""


def emit_svg(compiled: Compiled, folder: Path) -> Path:
    """Write `memory.svg`, one file without scripts or references."""
    path = folder / "memory.svg"
    write_atomic(path, memory_svg(compiled.plan).encode())
    return path


def memory_svg(plan: Plan) -> str:
    """The residencies of the fastest tier as rectangles, with titles that show under the mouse.

    The address axis ends at the highest address used (workspace included), not at the capacity,
    which the heading states: so a small plan in a large memory is still readable.
    """
    tier = plan.target.fastest
    held = [r for r in plan.residencies if r.tier == tier.name and r.start < r.end]
    steps = max(1, len(plan.problem.steps))
    top = max((r.offset + r.end_byte - r.start_byte for r in held), default=0)
    if any(step.workspace_bytes for step in plan.problem.steps):
        top = tier.capacity_bytes
    top = max(top, 1)
    full = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM)
    title = f"{plan.problem.name} on {plan.target.name}: {tier.name}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full[0]} {full[1]}" role="img"'
        f" aria-label={quoteattr(_clean(title))}>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{full[0]}" height="{full[1]}"/>',
        _text(
            LEFT, 24, f"{title}, {format_size(top)} of {format_size(tier.capacity_bytes)}", "title"
        ),
        _text(LEFT, 44, f"solver {plan.solver}; {len(held)} residencies over {steps} steps"),
        *_axes(steps, top),
        *(_slice(plan, r, steps, top) for r in held),
        *_workspaces(plan, steps, top),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _x(step: float, steps: int) -> float:
    return LEFT + WIDTH * step / steps


def _y(address: float, top: int) -> float:
    return TOP + HEIGHT * (1 - address / top)


def _slice(plan: Plan, r: Residency, steps: int, top: int) -> str:
    buffer = plan.problem.buffers[r.buffer]
    size = r.end_byte - r.start_byte
    x, y = _x(r.start, steps), _y(r.offset + size, top)
    width, height = _x(r.end, steps) - x, _y(r.offset, top) - y
    part = "" if size == buffer.size_bytes else f", bytes [{r.start_byte}, {r.end_byte})"
    names = values_of(buffer, r)
    caption = (
        f"{buffer.name} ({buffer.kind}){part}: {format_size(size)} at {r.offset}, "
        f"steps [{r.start}, {r.end}), ready at {r.ready}"
    )
    if len(names) > 1:
        caption += f"; holds {', '.join(names)}"
    shade, title = SHADES[r.buffer * 7 % len(SHADES)], escape(_clean(caption))
    box = (
        f'<rect class="slice" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
        f' data-kind="{buffer.kind}" fill="{LIGHT[buffer.kind]}"'
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


def _workspaces(plan: Plan, steps: int, top: int) -> Iterator[str]:
    for t, step in enumerate(plan.problem.steps):
        if step.workspace_bytes:
            x, y = _x(t, steps), _y(top, top)
            height = _y(top - step.workspace_bytes, top) - y
            caption = escape(
                _clean(f"workspace of {step.name}: {format_size(step.workspace_bytes)}")
            )
            yield (
                f'<rect class="workspace" x="{x:.2f}" y="{y:.2f}" width="{WIDTH / steps:.2f}"'
                f' height="{height:.2f}"><title>{caption}</title></rect>'
            )


def _axes(steps: int, top: int) -> Iterator[str]:
    """Ticks at round numbers: addresses at multiples of a power of two."""
    unit = 1 << max(0, math.ceil(math.log2(top / _TICKS)))
    for address in range(0, top + 1, unit):
        y = _y(address, top)
        yield f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        label = escape(format_size(address))
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    for step in range(0, steps + 1, -(-steps // _TICKS)):
        place = f'x="{_x(step, steps):.1f}" y="{TOP + HEIGHT + 18}"'
        yield f'<text {place} text-anchor="middle">{step}</text>'
    yield _text(LEFT + WIDTH / 2 - 12, TOP + HEIGHT + 38, "step")


def _legend() -> Iterator[str]:
    for index, kind in enumerate(KINDS):
        x, y = LEFT + 110 * index, TOP + HEIGHT + 48
        yield (
            f'<rect x="{x}" y="{y}" width="12" height="12" data-kind="{kind}"'
            f' fill="{LIGHT[kind]}"/>'
        )
        yield _text(x + 18, y + 10, kind)


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
