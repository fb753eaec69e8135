"""Families: few plans for all lengths of an encoder and a decoder, beside a plan for each length.

The encoder is of BERT-base's sizes (Devlin et al. 2019: 12 layers, 768 wide, 12 heads) with a
symbolic sequence length; the decoder (4 layers, 512 wide) is of the GPT kind with a symbolic past
and growing caches. Lengths are the multiples of 8 from 8 to
512. Loss: value of a length with its bucket's decisions over that of a plan made for it alone by
the same solver.

Run: python benchmarks/families.py [--tolerance 0.05] [--only encoder,decoder]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import onnx
from common import ROOT, write_table

from ullage.compiler.common.units import format_size, parse_size
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.families.family import parse_lengths, plan_family
from ullage.compiler.families.files import json_bytes, single_bytes

NAME = "families"
LENGTHS = "8..512:8"
# model, its dimension, target, solver, sizes of the fast memory
CASES = (
    ("encoder", "seq", "edge-npu", "greedy", ("1MiB", "4MiB")),
    ("encoder", "seq", "edge-npu", "fluid", ("1MiB", "4MiB")),
    ("encoder", "seq", "edge-npu-spm", "fluid", ("8MiB",)),
    ("decoder", "past", "edge-npu", "fluid", ("256KiB", "1MiB")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--only", default="encoder,decoder")
    arguments = parser.parse_args()
    chosen = set(arguments.only.split(","))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, symbol, target, solver, sizes in CASES:
            if name not in chosen:
                continue
            path = Path(folder) / f"{name}.onnx"
            if not path.exists():
                onnx.save(model(name), path)
            for size in sizes:
                rows.append(row(path, symbol, (target, solver), size, arguments.tolerance))
                print(*rows[-1], flush=True)
    columns = (
        *("model", "target", "solver", "fast memory", "plans", "lengths", "mean loss %"),
        *("worst loss %", "KiB, family", "KiB, a file each", "CPU s"),
    )
    title = (
        f"Families: plans for lengths 8 to 512 of an encoder of BERT-base's sizes and of a small "
        f"decoder with growing caches, int8; tolerance {100 * arguments.tolerance:g} %"
    )
    print(write_table(NAME, title, columns, rows))


def model(name: str) -> onnx.ModelProto:
    """A model with a symbolic length."""
    sys.path.insert(0, str(ROOT))
    from tests.support.decode_models import Decoder, growing_decoder
    from tests.support.encoders import encoder

    if name == "encoder":
        return encoder(12, 768, 12)
    sizes = Decoder(4, 8, 8, 64, 2048, 1000, "past")
    return growing_decoder(sizes)


def row(
    path: Path, symbol: str, how: tuple[str, str], size: str, tolerance: float
) -> tuple[object, ...]:
    """A row of the table: the family of a model on a chip."""
    target, solver = how
    options = CompileOptions(
        target=target,
        solver=solver,
        dtype="int8",
        fast_memory_bytes=parse_size(size),
    )
    begun = time.process_time()
    family = plan_family(path, parse_lengths(symbol, LENGTHS), tolerance, options)
    losses = [at.loss for at in family.lengths]
    return (
        path.stem,
        target,
        solver,
        format_size(parse_size(size)),
        len(family.buckets),
        len(losses),
        f"{100 * sum(losses) / len(losses):.2f}",
        f"{100 * family.worst_loss:.2f}",
        round(len(json_bytes(family)) / 1024),
        round(single_bytes(family) / 1024),
        round(time.process_time() - begun),
    )


if __name__ == "__main__":
    main()
