"""Emitters: a compiled plan as files for people, runtimes and other tools.

JSON, problem and solution files, C tables, Chrome trace, HTML report, MiniMalloc CSV, operators as
CSV, SVG, ONNX metadata, TFLM's list; and, for `analyze`, the graph as DOT and GraphML. Each is a
function that writes into a folder.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import check_folder, together
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.emit.c import emit_c
from ullage.compiler.emit.cortex_m.board import is_deployable
from ullage.compiler.emit.csv_operators import emit_operators
from ullage.compiler.emit.csv_tiers import emit_csv
from ullage.compiler.emit.exchange_files import emit_problem, emit_solution
from ullage.compiler.emit.html import emit_html
from ullage.compiler.emit.json_plan import emit_json
from ullage.compiler.emit.onnx_plan import emit_onnx
from ullage.compiler.emit.svg import emit_svg
from ullage.compiler.emit.tflm import emit_tflm
from ullage.compiler.emit.trace import emit_trace
from ullage.hwmodels.catalog.registry import load_target

# name -> function(compiled, folder) -> path of the file (or of the first of several)
EMITTERS: Mapping[str, Callable[[Compiled, Path], Path]] = {
    "json": emit_json,
    "problem": emit_problem,
    "solution": emit_solution,
    "csv": emit_csv,
    "operators": emit_operators,
    "html": emit_html,
    "svg": emit_svg,
    "c": emit_c,
    "trace": emit_trace,
    "onnx": emit_onnx,
    "tflm": emit_tflm,
}


def parse_emitters(text: str, known: Collection[str] = tuple(EMITTERS)) -> tuple[str, ...]:
    """Names from a comma-separated list.

    Args:
        text: the list.
        known: names that are allowed; those of `EMITTERS`, or of `GRAPH_FORMATS`.

    Raises:
        UsageError: a name is unknown, or a text that is not empty has none.
    """
    names = tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    if text and not names:
        raise UsageError(f"{text!r} names nothing to write; there are: {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UsageError(f"nothing emits {name!r}; there are: {', '.join(known)}")
    return names


def takes_whole(names: Sequence[str], options: CompileOptions) -> str:
    """Why one of several forms asks for whole operators where no schedule is named, or nothing.

    Args:
        names: of the forms, keys of `EMITTERS`.
        options: how to compile.
    """
    if "tflm" in names:
        return "--emit tflm takes them so"
    if "c" in names and is_deployable(load_target(options.frontend.target, options.overrides)):
        return "firmware (--emit c) has kernels for parts of some of them only"
    return ""


def emit_plan(
    compiled: Compiled, folder: Path | str, names: Sequence[str] | str = ("json",)
) -> dict[str, str]:
    """Write a plan in several forms: all of them, or none where one cannot be made.

    Args:
        compiled: what `compile_model` returned.
        folder: where to; it is made where it is missing.
        names: of the forms, keys of `EMITTERS`; or one text of them, with commas.

    Returns:
        Name of the form -> path of the file, of the first where a form has several.

    Raises:
        UsageError: there is no such form, or the folder takes no files.
    """
    chosen = parse_emitters(names if isinstance(names, str) else ",".join(names))
    check_folder(Path(folder), "folder")
    with together():
        return {name: str(EMITTERS[name](compiled, Path(folder))) for name in chosen}
