"""What the C tables say of parts: the ranges that a step makes, the layouts of values."""

from ullage.compiler.ir.part_names import axis_names_of
from ullage.compiler.ir.plan import Plan

# Of a value whose elements lie as in ONNX, row-major over all axes.
ROW_MAJOR = -1

TYPES = """\
/* A range [start, end) of an axis of the operator's result that a part makes; axis -1 is the
   reduction, of which a part adds up a range. */
typedef struct { const char *name; int32_t axis; uint64_t start, end; } ullage_range;
/* A value in a buffer. Made in parts, its elements lie in cells, by the cuts [first_cut, +cuts) of
   some axes, and in each cell `outer_axis` is outermost, the others ascending; -1: row-major. */
typedef struct {
  const char *name;
  uint32_t buffer;
  uint64_t start_byte, size_bytes;
  int32_t outer_axis;
  uint32_t first_cut, cuts;
} ullage_value;
/* Where a cell ends on an axis, in indices of it; the first cell of an axis begins at 0. */
typedef struct { uint32_t axis; uint64_t end; } ullage_cut;
"""

# Fields of a row.
Fields = tuple[str | int, ...]


def range_rows(plan: Plan) -> list[Fields]:
    """Rows of `ullage_ranges`, step by step."""
    return [
        (name, r.axis, r.start, r.end)
        for step in plan.problem.steps
        for name, r in zip(axis_names_of(step), step.ranges, strict=True)
    ]


def value_rows(plan: Plan) -> tuple[list[Fields], list[Fields]]:
    """Rows of `ullage_values`, buffer by buffer, and of `ullage_cuts`."""
    values: list[Fields] = []
    cuts: list[Fields] = []
    for index, buffer in enumerate(plan.problem.buffers):
        for value in buffer.values:
            first, layout = len(cuts), value.layout
            if layout is not None:
                cuts += [(c.axis, end) for c in layout.cuts for end in c.ends[1:]]
            outer = ROW_MAJOR if layout is None else layout.axis
            size = value.end_byte - value.start_byte
            values.append(
                (value.name, index, value.start_byte, size, outer, first, len(cuts) - first)
            )
    return values, cuts
