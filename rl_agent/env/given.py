"""What games are given: models, actions, and the boxes of their observations."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np

from ullage.compiler.common.errors import UsageError
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET

if TYPE_CHECKING:
    import onnx

    from ullage.compiler.frontend import Prepared


def prepared_for(
    model: "str | Path | onnx.ModelProto",
    target: str | None,
    fast_memory: int | str | None,
    *,
    dtype: str | None,
    order: str,
    batch: int | None = None,
    overrides: Mapping[str, str] | None = None,
) -> "Prepared":
    """A model in its order, on a target.

    Args:
        model: an .onnx file, a name (`ullage models list`) or a loaded model.
        target: name or file of a target; None: edge-npu.
        fast_memory: capacity of the fastest tier: 262144, "256KiB".
        dtype: plan floating-point tensors as this type.
        order: operator order, `model` or `memory`.
        batch: size of the batch dimension.
        overrides: fields of the target to change.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option is wrong.
    """
    from ullage.compiler.common.units import parse_size
    from ullage.compiler.frontend import FrontendOptions, prepare
    from ullage.compiler.importer.model_zoo import find_model
    from ullage.solvers.scheduling.orders import find_order

    size = parse_size(fast_memory) if isinstance(fast_memory, str) else fast_memory
    options = FrontendOptions(
        target=DEFAULT_TARGET if target is None else target,
        fast_memory_bytes=size,
        dtype=dtype,
        order=order,
        batch=batch,
        overrides={} if overrides is None else overrides,
    )
    ordering = find_order(options.order, steady_state=options.steady_state)
    return prepare(find_model(model) if isinstance(model, str) else model, options, ordering)


def action_number(action: object, actions: str) -> int:
    """The number of an action, a Python or numpy integer or an array of one.

    Args:
        action: what was given.
        actions: what actions there are, for the error.

    Raises:
        UsageError: it is no whole number.
    """
    given = np.asarray(action)
    if given.size != 1 or given.dtype.kind not in "iu":
        raise UsageError(f"an action is {actions}, not {action!r:.80}")
    return int(given.item())


def unit_box(*shape: int) -> gymnasium.spaces.Box:
    """Observations of a shape, each from 0 to 1."""
    return gymnasium.spaces.Box(0.0, 1.0, shape, np.float32)
