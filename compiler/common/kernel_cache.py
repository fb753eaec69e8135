"""Whether numba has compiled a kernel: what takes half a minute is not begun in two seconds.

Numba keeps what it compiled beside the sources. It compiles anew when the file of the kernel itself
has changed, but not when a file of the functions that it calls has; what is older than any of them
is dropped here.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

COMPILE_S = 60.0  # generous: what compiling the kernels of one search may take


def is_compiled(kernel: Any, sources: Iterable[Path]) -> bool:  # noqa: ANN401 - numba's dispatcher
    """Whether numba has a kernel in its cache, in memory or on disk, newer than the sources.

    Args:
        kernel: a function that numba compiles with a cache.
        sources: files of all functions that are compiled with it.
    """
    if kernel.signatures:
        return True
    kept = [file.stat().st_mtime for file in _indexes(kernel)]
    return bool(kept) and max(kept) >= _newest(sources)


def drop_stale(kernel: Any, sources: Iterable[Path]) -> None:  # noqa: ANN401 - as above
    """Delete what numba has kept of a kernel since before its sources changed.

    Args:
        kernel: a function that numba compiles with a cache, not called yet.
        sources: files of all functions that are compiled with it.
    """
    newest = _newest(sources)
    for index in _indexes(kernel):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            logger.warning("%s is out of date and cannot be deleted: %s", index, error)


def kernel_sources(folder: Path, *others: str) -> tuple[Path, ...]:
    """Files under a folder that have functions marked `@compiled`, and others by name."""
    files = sorted(folder.rglob("*.py"))
    return tuple(
        file
        for file in files
        if file.name in others or "\n@compiled\n" in file.read_text(encoding="utf-8")
    )


def _indexes(kernel: Any) -> list[Path]:  # noqa: ANN401 - as above
    module = kernel.py_func.__module__.rpartition(".")[2]
    pattern = f"{module}.{kernel.py_func.__qualname__}-*.nbi"
    return list(Path(kernel.stats.cache_path).glob(pattern))


def _newest(sources: Iterable[Path]) -> float:
    return max(file.stat().st_mtime for file in sources)
