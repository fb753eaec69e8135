"""`csv`: one MiniMalloc file per tier, lifetimes in steps, offsets included."""

from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled


def emit_csv(compiled: Compiled, folder: Path) -> Path:
    """Write `TIER.csv` for every tier in use; returns the path of the fastest in use.

    Columns are MiniMalloc's: id, lower, upper (half-open), size, offset.
    """
    plan = compiled.plan
    first: Path | None = None
    for tier in plan.target.tiers:
        rows = ["id,lower,upper,size,offset"]
        rows += [
            f"{number},{r.start},{r.end},{r.end_byte - r.start_byte},{r.offset}"
            for number, r in enumerate(plan.residencies)
            if r.tier == tier.name
        ]
        if len(rows) == 1:
            continue
        path = folder / f"{tier.name}.csv"
        write_atomic(path, ("\n".join(rows) + "\n").encode())
        first = first or path
    return first or folder
