"""Solutions of the MLSys 2026 scheduling contest, and their files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import MalformedPlanError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file, write_atomic
from ullage.compiler.common.json_files import brief, json_object

# Largest integer in a file.
MAX_INTEGER = 2**50


@dataclass(frozen=True)
class Subgraph:
    """Operators that run together, tile by tile.

    Attributes:
        operators: in an order in which each comes behind those that it reads from.
        granularity: width and height of a tile of the outputs, and depth of a step of the sums.
        retained: outputs that stay in fast memory for the next subgraph, ascending.
        traversal: the order of the tiles, numbered row by row; None for that of their numbers.
    """

    operators: tuple[int, ...]
    granularity: tuple[int, int, int]
    retained: tuple[int, ...] = ()
    traversal: tuple[int, ...] | None = None


def solution_text(subgraphs: Sequence[Subgraph], latencies: Sequence[float]) -> str:
    """The file of a solution.

    Args:
        subgraphs: in the order in which they run.
        latencies: of each, in the contest's unit of time.
    """
    document = {
        "subgraphs": [list(s.operators) for s in subgraphs],
        "granularities": [list(s.granularity) for s in subgraphs],
        "tensors_to_retain": [list(s.retained) for s in subgraphs],
        "traversal_orders": [None if s.traversal is None else list(s.traversal) for s in subgraphs],
        "subgraph_latencies": list(latencies),
    }
    return json.dumps(document) + "\n"


def write_solution(path: Path, subgraphs: Sequence[Subgraph], latencies: Sequence[float]) -> None:
    """Write the file of a solution, whole or not at all; arguments as of `solution_text`."""
    write_atomic(path, solution_text(subgraphs, latencies).encode())


def read_solution(path: Path) -> tuple[Subgraph, ...]:
    """The solution in a file; `subgraph_latencies` are what `rules.evaluate` computes anew.

    Raises:
        MalformedPlanError: it cannot be read, or is no solution; says which field is to blame.
    """
    try:
        document = json_object(read_file(path, MAX_READ_BYTES))
    except (ValueError, UsageError) as error:
        raise MalformedPlanError(f"{path}: not a solution of the contest: {error}") from error
    return solution_of(document, str(path))


def solution_of(document: Mapping[str, Any], where: str) -> tuple[Subgraph, ...]:
    """The solution that a JSON document describes.

    Args:
        document: with the contest's fields; `traversal_orders` may be left out.
        where: what messages call it.

    Raises:
        MalformedPlanError: as of `read_solution`.
    """
    operators = _lists(document, "subgraphs", where)
    granularities = _lists(document, "granularities", where)
    retained = _lists(document, "tensors_to_retain", where)
    traversals: list[tuple[int, ...] | None] = [None] * len(operators)
    if document.get("traversal_orders") is not None:
        traversals = list(_lists(document, "traversal_orders", where, nullable=True))
    counts = {len(operators), len(granularities), len(retained), len(traversals)}
    if len(counts) > 1:
        raise MalformedPlanError(
            f"{where}: each field has an entry for each of {len(operators)} subgraphs"
        )
    for number, granularity in enumerate(granularities):
        if len(granularity or ()) != 3:
            raise MalformedPlanError(f"{where}: granularity {number} is not [w, h, k]")
    return tuple(
        Subgraph(ops or (), (g or ())[:3], tuple(sorted(kept or ())), tiles)  # type: ignore[arg-type]
        for ops, g, kept, tiles in zip(operators, granularities, retained, traversals, strict=True)
    )


def _lists(
    document: Mapping[str, Any], name: str, where: str, *, nullable: bool = False
) -> list[tuple[int, ...] | None]:
    """A field that is a list of lists of integers, or of null where `nullable`."""
    value = document.get(name)
    if not isinstance(value, list):
        raise MalformedPlanError(f"{where}: {name} is {brief(value)}, not a list")
    found: list[tuple[int, ...] | None] = []
    for number, entry in enumerate(value):
        if entry is None and nullable:
            found.append(None)
            continue
        if not isinstance(entry, list):
            raise MalformedPlanError(f"{where}: {name} {number} is {brief(entry)}, not a list")
        for item in entry:
            if type(item) is not int or not 0 <= item <= MAX_INTEGER:
                raise MalformedPlanError(f"{where}: {name} {number} holds {brief(item)}")
        found.append(tuple(entry))
    return found
