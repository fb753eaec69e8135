"""Figures that a target lists by data type, and what stands in for one that it does not list."""

from collections.abc import Mapping

from ullage.compiler.common.dtypes import BITS, FLOATS, bits_of
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Target


def listed_or_scaled(
    listed: Mapping[str, float], step: Step, target: Target, notes: list[str], *, is_rate: bool
) -> float:
    """The figure of a data type, or one scaled from another data type by the ratio of their widths.

    A wider type is slower (or costlier) than the best listed one in proportion to its width; one
    that is no wider gets the figure of the narrowest listed type.

    Args:
        listed: rate or energy by data type.
        step: a step whose multiplications have the data type.
        target: the chip, for messages.
        notes: receives a note where another data type stands in.
        is_rate: more is better; else less is.

    Raises:
        UsageError: nothing is listed, or the data type has no width.
    """
    wanted = step.mac_dtype
    if wanted in listed:
        return listed[wanted]
    if not listed or wanted not in BITS:
        raise UsageError(
            f"{step.name} needs a MAC rate for {wanted}, {target.name} lists"
            f" {', '.join(listed) or 'none'}; add it to the target's compute.macs_per_s",
            {"operator": step.name, "dtype": wanted, "target": target.name},
        )

    def rank(dtype: str) -> tuple[float, int, str]:
        figure = listed[dtype]
        return -figure if is_rate else figure, bits_of(dtype), dtype

    what = "rate" if is_rate else "energy"
    best = min(listed, key=rank)
    factor = bits_of(wanted) / bits_of(best)
    if factor <= 1:
        narrowest = min(listed, key=lambda dtype: (bits_of(dtype), dtype))
        notes.append(f"no {wanted} MAC {what} on {target.name}: costed at {narrowest}'s {what}")
        return listed[narrowest]
    scaled = f"{'/' if is_rate else 'x'} {factor:g}"
    is_policy = is_rate and wanted in FLOATS and best not in FLOATS
    remedy = f"; to plan the model as {best}: --dtype {best}" if is_policy else ""
    notes.append(
        f"no {wanted} MAC {what} on {target.name}: costed at {best}'s {what} {scaled}{remedy}"
    )
    return listed[best] / factor if is_rate else listed[best] * factor
