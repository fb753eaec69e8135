"""Models that have a name: the real graphs that come with the `onnx` package."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.files import is_file, kind_of

# Endings of model files, for suggestions.
MODEL_FILES = {".onnx", ".json"}
# Beginning of the file names, which the models' names leave out.
PREFIX = "light_"


def named_models() -> Mapping[str, Path]:
    """Name -> file of the nine CNN graphs in the `onnx` package (their weights are constants)."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return {path.stem.removeprefix(PREFIX): path for path in sorted(folder.glob(f"{PREFIX}*.onnx"))}


def backend_models() -> tuple[Path, ...]:
    """Model files of ONNX's backend suite in the `onnx` package: operators and small networks."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    return tuple(sorted(folder.glob("*/*/model.onnx")))


def find_model(name: str) -> Path:
    """The file of a model, from a path or a name.

    Raises:
        ModelError: neither a file nor a known name.
    """
    path = Path(name)
    if is_file(path):
        return path
    known = named_models()
    if name in known:
        return known[name]
    kind = kind_of(path)
    close = [] if kind else _close(path, known)
    suggestion = f" (did you mean {' or '.join(close)}?)" if close else ""
    if not kind and (path.suffix in MODEL_FILES or path.parent != Path()):  # no name looks so
        raise ModelError(
            f"{name}: no such file{suggestion}; give the path of an .onnx file, or a name "
            "(ullage models list)"
        )
    fault = f"is {kind}, not a file" if kind else "does not exist"
    raise ModelError(
        f"{name}: {fault}, and is no known name either{suggestion}; names: {', '.join(known)} "
        "(ullage models list)"
    )


def _close(path: Path, known: Mapping[str, Path]) -> list[str]:
    """Known names, and files of its folder, that a path may have been meant for."""
    close = difflib.get_close_matches(path.name, known, 2) if path.parent == Path() else []
    try:
        beside = {file.name: file for file in path.parent.iterdir() if file.suffix in MODEL_FILES}
    except OSError:  # no such folder, or not ours to look into
        return close
    names = difflib.get_close_matches(path.name, beside, 2)
    return [*close, *(str(beside[found]) for found in names)][:2]
