"""Reading files up to a size; writing them so that a reader never sees half of one."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ullage.compiler.common.errors import OutputError, UllageError, UsageError
from ullage.compiler.common.visible import is_unicode

# Size in bytes (1 GiB) of the largest plan, table or checkpoint that is read.
MAX_READ_BYTES = 2**30
# Bytes that are asked of a pipe at once.
_CHUNK_BYTES = 2**20
# Characters of a file's name that a temporary one keeps: names have at most 255 bytes.
_NAME_KEPT = 40
# Errors of a device that takes no more.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)
# Files written since `recording` began, None outside it.
_written: ContextVar[list[str] | None] = ContextVar("written", default=None)
# Files held back since `together` began, None outside it.
_held: ContextVar[list[tuple[Path | str, bytes]] | None] = ContextVar("held", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Hold back the files that are written meanwhile: where one cannot be made, none is written.

    After Ctrl-C those that are complete are written.
    """
    held: list[tuple[Path | str, bytes]] = []
    token = _held.set(held)
    try:
        yield
    except KeyboardInterrupt:
        _held.reset(token)
        _write_all(held)
        raise
    except BaseException:
        _held.reset(token)
        raise
    _held.reset(token)
    _write_all(held)


def _write_all(held: list[tuple[Path | str, bytes]]) -> None:
    for path, data in held:
        write_atomic(path, data)


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
    _check_name(folder, option)
    nearest = folder
    while not kind_of(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if kind_of(nearest) != "a folder":
        raise UsageError(f"{option} {folder}: {nearest} is a file, not a folder; name another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: cannot be written to; name a writable folder")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; what a dangling link points to is made, too.

    Raises:
        UsageError: it cannot be made.
        OutputError: the device is full.
    """
    try:
        if not folder.is_dir():
            Path(os.path.realpath(folder)).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        kind = OutputError if getattr(error, "errno", None) in _FULL else UsageError
        raise kind(f"{folder}: this folder cannot be made: {reason}; name another one") from error


def check_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before time is spent on what it holds.

    Args:
        path: of the file; its folder may be missing.
        option: the option that names it, for messages.

    Raises:
        UsageError: it is a folder, its folder takes no files, or it is a device that takes no data.
    """
    _check_name(path, option)
    kind = kind_of(path)
    if kind == "a folder":
        raise UsageError(f"{option} {path}: is a folder; name a file")
    if kind not in ("", "a file"):  # written to in place, whatever its folder takes
        if not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path}: cannot be written to; name a file")
        return
    real = Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114 - a Path's own raises where a name is too long
    check_folder(real.parent, option)


def _check_name(path: Path, option: str) -> None:
    """Refuse a name that the documents about what was written could not hold."""
    if not is_unicode(str(path)):
        raise UsageError(f"{option} {path}: this name is no Unicode text; name another one")


def kind_of(path: Path | str) -> str:
    """What lies at a path, links followed: `a file`, `a folder`, `a named pipe` ...; else empty."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as given: a Path cannot hold every text
    except (OSError, ValueError):
        return ""
    return next((name for is_one, name in _KINDS if is_one(mode)), "no file")


def is_file(path: Path | str) -> bool:
    """Whether a path leads to a regular file; names that no file can have lead to none."""
    return kind_of(path) == "a file"


def read_file(path: Path | str, most_bytes: int, error: type[UllageError] = UsageError) -> bytes:
    """The content of a file or of a pipe.

    Devices are refused: some never end. A pipe is read until its writer closes it.

    Args:
        path: the file.
        most_bytes: size beyond which it is refused; no more than that is ever held.
        error: what is raised.

    Raises:
        UllageError: of the class `error`: it cannot be read, is a folder or a device, or is larger.
    """
    kind = kind_of(path)
    if kind not in ("", "a file", "a named pipe"):
        raise error(f"{path}: cannot be read: it is {kind}; name a file")
    try:
        with Path(path).open("rb", buffering=0) as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            chunks: list[bytes] = []
            left = most_bytes + 1 if size_bytes <= most_bytes else 0
            while left and (chunk := stream.read(min(left, max(size_bytes + 1, _CHUNK_BYTES)))):
                chunks.append(chunk)
                left -= len(chunk)
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise error(f"{path}: cannot be read: {reason}") from failure
    if not left:
        raise error(f"{path}: larger than {most_bytes} bytes, the most that is read of such a file")
    return b"".join(chunks)


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it.

    A symbolic link stays: what it points to is written. So does the mode of a file that is there.
    What is no regular file, such as a pipe or a device, is opened and written to.

    Raises:
        UsageError: it is a folder, or its folder cannot be made or written to.
        OutputError: it cannot hold the data: the device is full.
    """
    if (held := _held.get()) is not None:
        held.append((path, data))
        return
    try:
        if kind_of(path) in ("", "a file"):
            _replace(Path(os.path.realpath(path)), data)
        else:
            _write_through(path, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        kind = OutputError if getattr(error, "errno", None) in _FULL else UsageError
        raise kind(f"{path}: cannot be written: {reason}") from error
    if (files := _written.get()) is not None and str(path) not in files:
        files.append(str(path))


def temporary_beside(path: Path) -> Path:
    """A name that nobody has for a file that will be renamed to another as soon as it is whole."""
    return path.with_name(f".{path.name[:_NAME_KEPT]}.{secrets.token_hex(8)}")


def _replace(target: Path, data: bytes) -> None:
    """Write a regular file, whole or not at all."""
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_through(path: Path | str, data: bytes) -> None:
    """Write to a pipe or a device; one whose reader leaves has had what it wanted."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY), "wb") as stream:
            stream.write(data)
    except BrokenPipeError:
        return
