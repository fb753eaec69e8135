"""What compiling the kernels costs: CPU seconds of each family, and of first commands.

Each measurement is a process of its own. First commands begin with no compiled kernel, and are then
run again with what the first run has kept.

Run: python benchmarks/kernels.py
"""

import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from common import write_table

WARM_UP = "from ullage.compiler.driver.warm_up import FAMILIES, warm_up; list(warm_up({}))"
COMMAND = "from ullage.cli.main import main; main()"
FIRST_COMMANDS = {
    "compile squeezenet --solver rl": ["compile", "squeezenet", "--solver", "rl"],
    "compile squeezenet --schedule whole --set split_operands=false": [
        *("compile", "squeezenet", "--schedule", "whole", "--set", "split_operands=false")
    ],
    "compare squeezenet": ["compare", "squeezenet"],
}


def cpu_seconds(code: str, arguments: list[str], cache: Path) -> float:
    """User and system seconds of a Python process and of its children."""
    environment = {**os.environ, "ULLAGE_CACHE_DIR": str(cache)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    from ullage.compiler.driver.warm_up import FAMILIES

    families = {
        family.name: f"[f for f in FAMILIES if f.name == '{family.name}']" for family in FAMILIES
    }
    rows = []
    for name, chosen in {**families, "all, in one process": "FAMILIES"}.items():
        with TemporaryDirectory() as folder:
            code = WARM_UP.format(chosen)
            seconds = [cpu_seconds(code, [], Path(folder)) for _ in range(2)]
        rows.append([name, *(f"{value:.1f}" for value in seconds)])
    columns = ["kernels", "CPU s, nothing compiled", "CPU s, all compiled"]
    print(write_table("kernels", "Compiling the kernels", columns, rows))
    rows = []
    for name, arguments in FIRST_COMMANDS.items():
        with TemporaryDirectory() as folder:
            seconds = [cpu_seconds(COMMAND, arguments, Path(folder)) for _ in range(2)]
        rows.append([name, *(f"{value:.1f}" for value in seconds)])
    columns = ["command", "CPU s, nothing compiled", "CPU s, all compiled"]
    print(write_table("first_commands", "First commands of an installation", columns, rows))


if __name__ == "__main__":
    main()
