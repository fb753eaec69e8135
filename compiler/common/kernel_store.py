"""The files of compiled kernels, in the form that numba's dispatchers expect of a cache.

There is one file per kernel and types of arguments. Numba's own cache has an index per function,
which two processes that compile for different types at once can leave pointing at each other's
code. A file here is named after its contents, has a checksum, and is written whole or not at all;
when two processes compile the same kernel, the second one writes the same file again.
"""

import hashlib
import logging
import os
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic

logger = logging.getLogger(__name__)

# Environment variable with the folder for compiled kernels.
CACHE_VARIABLE = "ULLAGE_CACHE_DIR"
# What users are shown while kernels are compiled.
COMPILING = "compiling kernels, once per installation"
# Suffix of a kernel's file.
SUFFIX = ".kernel"
# Length of the SHA-256 digest at the beginning of a kernel's file.
CHECKSUM_BYTES = 32
# Seconds after which an unused folder of another version is deleted (30 days).
KEPT_S = 30 * 24 * 3600.0


@dataclass
class Activity:
    """What this process has compiled, loaded and could not keep.

    Attributes:
        tell: called with `COMPILING` when compiling begins, and with `text` when it ends.
        text: the last text that was shown about something else.
        depth: kernels being compiled now, each called by the one before.
        compiled: number of kernels compiled so far.
        loaded: number of kernels taken from the folder so far.
        unwritable: reason why kernels could not be kept, empty while they could.
    """

    tell: Callable[[str], None] = lambda _: None
    text: str = ""
    depth: int = 0
    compiled: int = 0
    loaded: int = 0
    unwritable: str = ""

    def begins(self) -> None:
        """Note that a kernel is about to be compiled."""
        self.depth += 1
        if self.depth == 1:
            before = self.text
            self.tell(COMPILING)
            self.text = before

    def ends(self) -> None:
        """Note that a kernel has been compiled."""
        self.compiled += 1
        self.depth = max(0, self.depth - 1)
        if not self.depth and self.text:
            self.tell(self.text)

    def failed(self, why: str) -> None:
        """Note that a kernel cannot be kept, and warn the first time."""
        if not self.unwritable:
            self.unwritable = why
            logger.warning(
                "compiled kernels cannot be kept, so every process compiles them anew: %s; "
                "set %s to a folder that can be written",
                why,
                CACHE_VARIABLE,
            )


# What this process has compiled so far; there is one for the whole process.
activity = Activity()


class KernelStore:
    """The cache of one kernel; a numba dispatcher calls it in place of its own."""

    def __init__(self, folder: Path | None, name: str, options: str) -> None:
        """Set up the cache; nothing is read or written yet.

        Args:
            folder: folder of the module's kernels; None where nothing is kept.
            name: the kernel's qualified name.
            options: text of the options that it is compiled with.
        """
        self.folder = folder
        self.name = name.replace("<", "").replace(">", "")
        self.options = options

    @property
    def cache_path(self) -> str | None:
        """The folder, as numba's statistics show it."""
        return None if self.folder is None else str(self.folder)

    def holds_any(self) -> bool:
        """Whether there is a file of the kernel for at least one combination of argument types."""
        return bool(self._files())

    def is_whole(self) -> bool:
        """Whether there are files of the kernel, none of them damaged: those are compiled anew."""
        files = self._files()
        return bool(files) and all(_whole_data(path) is not None for path in files)

    def _files(self) -> list[Path]:
        return [] if self.folder is None else list(self.folder.glob(f"{self.name}-*{SUFFIX}"))

    def load_overload(self, signature: Any, target_context: Any) -> Any:  # noqa: ANN401 - numba's
        """The compiled kernel for the types of arguments, None where it must be compiled."""
        target_context.refresh()
        overload = self._load(signature, target_context)
        if overload is None:
            activity.begins()
        else:
            activity.loaded += 1
        return overload

    def save_overload(self, signature: Any, result: Any) -> None:  # noqa: ANN401 - numba's
        """Keep a kernel that was just compiled, where that is possible."""
        from numba.core import serialize

        activity.ends()
        if self.folder is None or result.library.has_dynamic_globals:  # these hold addresses
            return
        dumps: Any = serialize.dumps
        data = dumps(result._reduce())  # noqa: SLF001 - as numba's own cache does
        is_new = not self.folder.exists()
        try:
            write_atomic(self._path(signature), hashlib.sha256(data).digest() + data)
        except UsageError as error:
            activity.failed(f"{self.folder.parent}: {_reason(error)}")
            return
        if is_new:
            _drop_unused(self.folder)

    def flush(self) -> None:
        """Delete all files of the kernel."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _load(self, signature: Any, target_context: Any) -> Any:  # noqa: ANN401 - numba's
        from numba.core import compiler

        if self.folder is None:
            return None
        path = self._path(signature)
        data = _whole_data(path)
        if data is None:
            if path.exists():
                logger.warning("%s is damaged; the kernel is compiled anew", path)
            return None
        _mark_used(self.folder)
        # Files in the user's own folder, as numba's are.
        parts = pickle.loads(data)  # noqa: S301
        rebuild: Any = compiler.CompileResult._rebuild  # noqa: SLF001
        return rebuild(target_context, *parts)

    def _path(self, signature: Any) -> Path:  # noqa: ANN401 - numba's
        assert self.folder is not None  # noqa: S101 - callers look
        digest = hashlib.sha256(f"{signature!r}\0{self.options}".encode()).hexdigest()
        return self.folder / f"{self.name}-{digest[:16]}{SUFFIX}"


def _whole_data(path: Path) -> bytes | None:
    """What a kernel file holds; None where it is missing or damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    checksum, data = stored[:CHECKSUM_BYTES], stored[CHECKSUM_BYTES:]
    return data if hashlib.sha256(data).digest() == checksum else None


def _reason(error: UsageError) -> str:
    cause = error.__cause__
    return (isinstance(cause, OSError) and cause.strerror) or error.message


# Folders whose time this process has set already.
_used: set[Path] = set()


def _mark_used(folder: Path) -> None:
    """Set the folder's time to now, once per process, so that `_drop_unused` leaves it alone."""
    if folder not in _used:
        _used.add(folder)
        try:
            os.utime(folder)
        except OSError:
            return  # somebody else's, or read-only


def _drop_unused(folder: Path) -> None:
    """Delete the folders beside this one that no process has used for `KEPT_S`."""
    oldest = time.time() - KEPT_S
    for other in folder.parent.glob("*-*"):
        try:
            if other != folder and other.is_dir() and other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)
        except OSError:
            continue  # another process was faster
