"""Operator orders: the smallest peak of live bytes, against the file's order and a lower bound.

Run: python benchmarks/orders.py [--models DIR] [--limit SECONDS] [--no-alias] [--no-fuse]
"""

import argparse
import math
import time
from pathlib import Path

import onnx
from common import model_files, write_table

from ullage.compiler.common.errors import UllageError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.symbols import input_dims
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.aliases import NO_ALIASES, AliasOptions
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.scheduling.peak_order import LIMIT_S, order_peak_bytes, smallest_peak

COLUMNS = (
    "model",
    "operators",
    "file order KiB",
    "smallest KiB",
    "bound KiB",
    "saved",
    "proven by",
    "found by",
    "states",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--limit", type=float, default=LIMIT_S)
    parser.add_argument("--no-alias", action="store_true")
    parser.add_argument("--no-fuse", action="store_true")
    given = parser.parse_args()
    aliases = NO_ALIASES if given.no_alias else AliasOptions()
    rows: list[list[str]] = []
    logs: list[float] = []
    for file in model_files(given.models):
        try:
            graph = read(file, fuse=not given.no_fuse)
        except UllageError as error:
            print(f"{file.name}: {error}")
            continue
        before = order_peak_bytes(graph, model_order(graph), aliases)
        begun = time.monotonic()
        found = smallest_peak(graph, aliases, limit_s=given.limit)
        spent = time.monotonic() - begun
        if order_peak_bytes(graph, found.order, aliases) != found.peak_bytes > before:
            raise SystemExit(f"{file.name}: a peak that is not the order's, or above the file's")
        logs.append(math.log(found.peak_bytes / before))
        rows.append(
            [
                file.stem,
                str(len(graph.operators)),
                *(f"{size / 1024:,.1f}" for size in (before, found.peak_bytes)),
                f"{found.lower_bound_bytes / 1024:,.1f}",
                f"{1 - found.peak_bytes / before:.1%}",
                found.bound_source if found.is_optimal else "open",
                found.method,
                str(found.states),
                f"{spent:.2f}",
            ]
        )
        print(" ".join(rows[-1]), flush=True)
    proven = sum(row[6] != "open" for row in rows)
    name = "orders" + "_no_alias" * given.no_alias + "_no_fuse" * given.no_fuse
    title = (
        f"Operator orders{', nothing shared' * given.no_alias}{', no fusion' * given.no_fuse}: "
        f"{proven} of {len(rows)} proven, geometric mean {math.exp(sum(logs) / len(logs)):.3f} "
        "of the file's peak"
    )
    print(write_table(name, title, COLUMNS, rows))


def read(file: Path, *, fuse: bool) -> Graph:
    """The graph of a model, batch 1 where it is symbolic."""
    proto = onnx.load(file, load_external_data=False)
    weights = {t.name for t in proto.graph.initializer}
    free = [v for v in proto.graph.input if v.name not in weights]
    symbolic = any(isinstance(d, str) for v in free for d in input_dims(v) or ())
    return import_model(file, ImportOptions(batch=1 if symbolic else None, fuse=fuse))


if __name__ == "__main__":
    main()
