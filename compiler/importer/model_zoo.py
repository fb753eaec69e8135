"""Models that have a name: the real graphs that come with the `onnx` package."""

from collections.abc import Mapping
from pathlib import Path

from ullage.compiler.common.errors import ModelError

# Beginning of the file names, which the models' names leave out.
PREFIX = "light_"


def named_models() -> Mapping[str, Path]:
    """Name -> file of the nine CNN graphs in the `onnx` package (their weights are constants)."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return {path.stem.removeprefix(PREFIX): path for path in sorted(folder.glob(f"{PREFIX}*.onnx"))}


def find_model(name: str) -> Path:
    """The file of a model, from a path or a name.

    Raises:
        ModelError: neither a file nor a known name.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = named_models()
    if name in known:
        return known[name]
    kind = "is a folder, not a file" if path.is_dir() else "does not exist"
    raise ModelError(
        f"{name}: {kind}, and is no known name either; names: {', '.join(known)} "
        "(ullage models list)"
    )
