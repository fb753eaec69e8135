"""Writing files so that a reader never sees half of one, and knowing which were written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ullage.compiler.common.errors import UsageError

# Files written since `recording` began, None outside it.
_written: ContextVar[list[str] | None] = ContextVar("written", default=None)


@contextmanager
def recording() -> Iterator[list[str]]:
    """Note the files that are written meanwhile.

    Yields:
        The list, which grows by the path of each file as soon as that is complete.
    """
    files: list[str] = []
    token = _written.set(files)
    try:
        yield files
    finally:
        _written.reset(token)


def check_folder(folder: Path, option: str) -> None:
    """Refuse a folder that takes no files, before time is spent on what they hold.

    Args:
        folder: may be missing, with its parents; nothing is made yet.
        option: the option that names it, for messages.

    Raises:
        UsageError: it is a file, lies below one, or may not be written to.
    """
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"{option} {folder}: {nearest} is a file, not a folder; name another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: cannot be written to; name a writable folder")


def check_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before time is spent on what it holds.

    Args:
        path: of the file; its folder may be missing.
        option: the option that names it, for messages.

    Raises:
        UsageError: it is a folder, or its folder takes no files.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file")
    check_folder(path.parent, option)


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it.

    Raises:
        UsageError: the folder cannot be made or written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        if (files := _written.get()) is not None and str(path) not in files:
            files.append(str(path))
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
