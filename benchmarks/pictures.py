"""Draws the pictures of docs/ that show SqueezeNet, and writes the table of the first page.

SqueezeNet in int8 on `edge-npu` with 256 KiB of SRAM, unless a caption says otherwise. The commands
are those of the pages; the pictures are what `--emit svg` and `--plot` draw (extra `plot`).

Run: python benchmarks/pictures.py (a minute)
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
FIRST_PAGE = ROOT / "docs" / "index.md"
MODEL = ("squeezenet", "--dtype", "int8", "--target", "edge-npu")
SIZE = ("--fast-memory", "256KiB")
# Lines of the first page between which the table is written.
BEGIN, END = (
    "<!-- figures of the plans, written by benchmarks/pictures.py -->",
    "<!-- end of the table",
)
PROGRAM = "from ullage.cli.start import main; main()"
ROWS = (
    ("everything in DRAM (`--solver all-slow`)", ("--solver", "all-slow", "--schedule", "whole")),
    ("heuristic (`--solver greedy`)", ("--solver", "greedy", "--schedule", "whole")),
    ("linear program (`--solver fluid`)", ("--solver", "fluid", "--schedule", "whole")),
    ("operators in parts (what `compile` does)", ("--time-limit", "30s")),
)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = [
            figures(title, options, folder / str(at)) for at, (title, options) in enumerate(ROWS)
        ]
        keep(folder / "2" / "memory.svg", "whole")
        keep(folder / "3" / "memory.svg", "cascade")
        sizes = ("--fast-memory", "64KiB..1MiB", "--points", "7", "--solver", "fluid")
        ullage("sweep", *MODEL, *sizes, "--plot", str(PICTURES / "sweep.svg"))
        whole = ("--set", "split_operands=false", "--solvers", "greedy,msa,cpsat,rl")
        limit = ("--time-limit", "10s", "--plot", str(PICTURES / "compare.svg"))
        ullage("compare", *MODEL, *SIZE, *whole, *limit)
    for drawn in ("sweep", "compare"):
        shorten(PICTURES / f"{drawn}.svg")
    before, rest = FIRST_PAGE.read_text(encoding="utf-8").split(BEGIN)
    head = rest.split("\n")[1:3]
    after = rest[rest.index(END) :]
    text = "\n".join((before + BEGIN, *head, *table, after))
    FIRST_PAGE.write_text(text, encoding="utf-8")


def figures(title: str, options: tuple[str, ...], folder: Path) -> str:
    """A row of the table, of a plan that is left in a folder."""
    said = ullage("compile", *MODEL, *SIZE, *options, "-o", str(folder), "--emit", "json,svg")
    bound = said["lower_bound"] if said["schedule"] == "whole" else said["lower_bound_any_schedule"]
    slow = sum(bytes_ for way, bytes_ in said["traffic_bytes"].items() if "dram" in way)
    return (
        f"| {title} | {said['latency_s'] * 1e3:.3f} ms | {slow / 2**20:.2f} MiB "
        f"| {bound * 1e3:.3f} ms |"
    )


def ullage(*arguments: str) -> Any:  # noqa: ANN401 - any JSON document
    """What a command prints as JSON."""
    command = [sys.executable, "-c", PROGRAM, *arguments, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def keep(drawn: Path, name: str) -> None:
    (PICTURES / f"{name}.svg").write_text(drawn.read_text(encoding="utf-8"), encoding="utf-8")


def shorten(path: Path) -> None:
    """Lines of a picture without blanks at their ends and without the time of drawing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line.rstrip() for line in lines if "<dc:date>" not in line]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
