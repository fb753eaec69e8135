"""Whether numba has compiled a kernel: what takes half a minute is not begun in two seconds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

COMPILE_S = 60.0  # generous: what compiling the kernels of one search may take


def is_compiled(kernel: Any, sources: Iterable[Path]) -> bool:  # noqa: ANN401 - numba's dispatcher
    """Whether numba has a kernel in its cache, in memory or on disk, newer than the sources.

    Args:
        kernel: a function that numba compiles with a cache.
        sources: files of all functions that are compiled with it.
    """
    if kernel.signatures:
        return True
    folder = Path(kernel.stats.cache_path)
    module = kernel.py_func.__module__.rpartition(".")[2]
    pattern = f"{module}.{kernel.py_func.__qualname__}-*.nbi"
    kept = [file.stat().st_mtime for file in folder.glob(pattern)]
    return bool(kept) and max(kept) >= max(file.stat().st_mtime for file in sources)
