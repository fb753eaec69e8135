"""`c`: the plan as C tables; for a board's target also all that makes firmware of them."""

from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.emit.c_source import HEADER, SOURCE, c_files
from ullage.compiler.emit.cortex_m.board import is_deployable
from ullage.compiler.emit.cortex_m.deployment import deployment_of


def emit_c(compiled: Compiled, folder: Path) -> Path:
    """Write `ullage_plan.h` and `ullage_plan.c`; returns the path of the header.

    Where the target's tiers are memories of a board (`cortex_m.board`), the folder is a deployment:
    `make` in it builds firmware.

    Raises:
        ModelError: the target is a board's, and the model has an operator without a kernel, or its
            file is gone.
        UsageError: the target is a board's, and the plan was made with --dtype.
    """
    if is_deployable(compiled.plan.target):
        deployment_of(compiled.plan).write(folder)
    else:
        header, source = c_files(compiled.plan)
        write_atomic(folder / SOURCE, source.encode("ascii"))
        write_atomic(folder / HEADER, header.encode("ascii"))
    return folder / HEADER
