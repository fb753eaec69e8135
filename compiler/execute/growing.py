"""Inferences whose caches grow: each by the plan, carried out at a length of its own.

    plan for 8 past rows, 3 inferences      past rows 6, 7, 8, the plan's own length last

The rows that one inference leaves at home are where the next one finds them.
"""

from collections.abc import Mapping
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.load import load_model
from ullage.compiler.ir.graph import Graph, State


def grown_states(graph: Graph) -> tuple[State, ...]:
    """The states that each inference makes longer."""
    return tuple(state for state in graph.states if state.axis is not None)


def dims_of_inferences(
    model: Path, graph: Graph, dims: Mapping[str, int], count: int
) -> list[dict[str, int]]:
    """The values of symbolic dimensions in each of some inferences in a row, the plan's own last.

    Args:
        model: the model's file.
        graph: the model at the plan's length.
        dims: the values that the plan was made for.
        count: number of inferences.

    Raises:
        UsageError: the length is fixed in the file, or so short that the first inference would have
            no rows.
    """
    rows = _rows_by_symbol(model, graph, dims)
    for symbol, (value, step) in rows.items():
        if value - (count - 1) * step < 1:
            raise UsageError(
                f"the plan is for {symbol}={value}, and each inference adds {step}: there are at "
                f"most {(value - 1) // step + 1} inferences in a row, not {count}; compile with a "
                f"larger --dim {symbol}"
            )
    return [
        dict(dims) | {s: value - later * step for s, (value, step) in rows.items()}
        for later in reversed(range(count))
    ]


def _rows_by_symbol(
    model: Path, graph: Graph, dims: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Symbol of a growing axis -> (length in the plan, rows that an inference adds)."""
    inputs = {value.name: value for value in load_model(model, None).graph.input}
    rows: dict[str, tuple[int, int]] = {}
    for state in grown_states(graph):
        if state.axis is None or state.input not in inputs:
            continue
        before, after = (graph.values[n].shape[state.axis] for n in (state.input, state.output))
        symbol = inputs[state.input].type.tensor_type.shape.dim[state.axis].dim_param
        if symbol not in dims:
            raise UsageError(
                f"each inference makes {state.output!r} longer than {state.input!r}, whose length "
                f"is {before} in the model's file: run one inference (--inferences 1), or export "
                "the model with a symbolic length and bind the largest (--dim NAME=N)"
            )
        found = rows.setdefault(symbol, (before, after - before))
        if found != (before, after - before):
            raise UsageError(
                f"{symbol} is the length of several caches that grow differently: run one "
                "inference (--inferences 1)"
            )
    return rows
