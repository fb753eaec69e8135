"""Pictures of a game: which addresses of the fastest tier are taken in which steps."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.units import format_size
from ullage.rl_agent.env.game_instance import GameArrays
from ullage.rl_agent.env.state import ADDRESS_CELLS, State
from ullage.solvers.state.build_plan import SegmentResidency

# Characters for an empty cell up to a full one.
SHADES = " .:-=+*#%@"
# Most columns of a picture in characters; a column is one step or more.
TEXT_COLUMNS = 96
# Pixels of an image.
PICTURE_HEIGHT, PICTURE_WIDTH = 256, 512
# Red, green and blue of the tensors, by segment number.
PALETTE = np.array(
    [
        (76, 114, 176),
        (221, 132, 82),
        (85, 168, 104),
        (196, 78, 82),
        (129, 114, 179),
        (147, 120, 96),
        (218, 139, 195),
        (100, 181, 205),
    ],
    dtype=np.uint8,
)


def as_text(arrays: GameArrays, state: State, now: int) -> str:
    """The memory map in characters, the highest addresses first, a caret under the current step.

    Args:
        arrays: the static arrays of the program.
        state: the game.
        now: the current step, -1 at the end of the game.
    """
    steps = len(arrays.compute_s)
    columns = min(steps, TEXT_COLUMNS)
    edges = np.linspace(0, steps, columns + 1).round().astype(int)
    cell_bytes = max(arrays.capacity_bytes / ADDRESS_CELLS, 1.0)
    lines = [f"fast memory, {format_size(arrays.capacity_bytes)}, steps 0 to {steps - 1}"]
    for row in reversed(range(ADDRESS_CELLS)):
        filled = [state.map_bytes[row, a:b].max() / cell_bytes for a, b in pairwise(edges)]
        levels = [min(int(np.ceil(f * (len(SHADES) - 1))), len(SHADES) - 1) for f in filled]
        lines.append("|" + "".join(SHADES[level] for level in levels) + "|")
    if now >= 0:
        column = int(np.searchsorted(edges, now, side="right")) - 1
        lines.append(" " * (column + 1) + "^")
    return "\n".join(lines) + "\n"


def as_picture(
    residencies: Sequence[SegmentResidency],
    sizes: Sequence[int],
    steps: int,
    capacity_bytes: int,
    now: int,
) -> NDArray[np.uint8]:
    """The memory map as an image (256, 512, 3): a colour per tensor, pale while it is copied in.

    Args:
        residencies: what is in fast memory.
        sizes: bytes of each segment.
        steps: number of steps.
        capacity_bytes: of the fastest tier.
        now: the current step, drawn as a dark line; -1 for none.
    """
    picture = np.full((PICTURE_HEIGHT, PICTURE_WIDTH, 3), 245, dtype=np.uint8)
    high = PICTURE_HEIGHT / max(capacity_bytes, 1)
    wide = PICTURE_WIDTH / max(steps, 1)
    for residency in residencies:
        if residency.offset < 0:
            continue
        top = PICTURE_HEIGHT - round((residency.offset + sizes[residency.segment]) * high)
        bottom = max(PICTURE_HEIGHT - round(residency.offset * high), top + 1)
        left, middle, right = (
            round(x * wide) for x in (residency.start, residency.ready, residency.end)
        )
        colour = PALETTE[residency.segment % len(PALETTE)]
        picture[max(top, 0) : bottom, left:right] = colour
        picture[max(top, 0) : bottom, left:middle] = colour // 2 + 122
    if now >= 0:
        picture[:, round(now * wide)] = 40
    return picture
