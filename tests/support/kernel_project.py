"""Three modules, two of them with a kernel, and processes that call these."""

import os
import subprocess
import sys
from pathlib import Path

SOURCES = {
    "constants": "STEP = 1\n",
    "callee": """
from ullage.compiler.common.kernel_cache import kernel
from ullage.trial_constants import STEP

compiled = kernel(error_model="numpy")


@compiled
def next_of(value):
    return value + STEP
""",
    "caller": """
from ullage.compiler.common.kernel_cache import kernel
from ullage.trial_callee import next_of

compiled = kernel()


@compiled
def twice(value):
    return next_of(value) * 2
""",
}
# Prints the values for the numbers given, kernels compiled, and kernels loaded.
RUNNER = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

for name in ("constants", "callee", "caller"):
    file = Path(sys.argv[1]) / f"{name}.py"
    spec = spec_from_file_location(f"ullage.trial_{name}", file)
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
from ullage.compiler.common.kernel_store import activity

print(*(module.twice(eval(text)) for text in sys.argv[2:]), activity.compiled, activity.loaded)
"""


def write_project(folder: Path) -> Path:
    """Write the modules into a folder, whose `cache` takes the kernels."""
    for name, text in SOURCES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def begin(project: Path, *numbers: str, **environment: str) -> subprocess.Popen[str]:
    """A process that calls `twice` for each number."""
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(project), *numbers],
        env={**os.environ, "ULLAGE_CACHE_DIR": str(project / "cache"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(project: Path, *numbers: str, **environment: str) -> tuple[str, str]:
    """Values, kernels compiled and kernels loaded by such a process; what it said on stderr."""
    out, err = begin(project, *numbers, **environment).communicate(timeout=120)
    return out.strip(), err
