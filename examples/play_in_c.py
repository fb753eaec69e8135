"""A plan as C tables, executed by the reference player with dummy kernels under sanitizers.

Needs gcc.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from ullage.compiler import CompileOptions, compile_model
from ullage.compiler.emit.c import emit_c

if shutil.which("gcc") is None:
    raise SystemExit("this example needs gcc: install a C compiler")
options = CompileOptions(
    target="edge-npu", dtype="int8", fast_memory_bytes=256 * 1024, schedule="whole"
)
compiled = compile_model("squeezenet", options)
player = Path(__file__).with_name("player.c")
with tempfile.TemporaryDirectory() as name:
    header = emit_c(compiled, Path(name))
    program = header.with_name("player")
    flags = "-std=c11 -Wall -Wextra -Werror -fsanitize=address,undefined".split()
    sources = [str(player), str(header.with_suffix(".c"))]
    build = ["gcc", *flags, "-I", name, *sources, "-o", str(program)]
    subprocess.run(build, check=True)  # noqa: S603 - a fixed command
    played = subprocess.run([program], check=True, capture_output=True, text=True)  # noqa: S603
found = json.loads(played.stdout)
print(f"{found['operators']} kernels read {found['bytes_read']} bytes, {found['wrong']} wrong")
print(f"{found['copies']} copies moved {found['bytes_copied']} bytes between sram and dram")
