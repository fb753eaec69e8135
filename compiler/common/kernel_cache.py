"""The decorator for compiled kernels, and the folder in which the results are kept.

    compiled = kernel()          # or kernel(error_model="numpy"): options of numba.njit

    @compiled
    def add(a: int, b: int) -> int: ...

A kernel is compiled at its first call, together with all kernels that it calls, and kept in a
folder of the user, since an installation may be read-only:

    ~/.cache/ullage/kernels/
        MODULE-HASH/                    one folder per module and state of its sources
            FUNCTION-DIGEST.kernel      one file per kernel and types of arguments

HASH covers the sources that the kernels are made from (`kernel_sources`) and the versions of numba,
Python, numpy and the CPU, so code compiled from other sources is never loaded. (Numba's own cache
looks at the kernel's file alone.) Where nothing can be written, kernels are compiled in every
process, and one warning says so.

Importing this module imports no numba; calling `kernel()(function)` does.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.common.kernel_store import CACHE_VARIABLE, KernelStore, activity

# Version of the kernel files; part of the folders' hash, so that other versions are not read.
FORMAT = "1"
# Reason given where the user has no home folder to keep kernels in.
NO_HOME = "there is no home folder"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[_Function], _Function]:  # noqa: ANN401 - numba's options
    """A decorator that compiles functions by `numba.njit` with these options, and keeps them."""

    def decorate(function: _Function) -> _Function:
        import numba

        has_kernels(function.__module__)
        compiled: Any = numba.njit(**options)(function)
        if hasattr(compiled, "signatures"):  # else numba is switched off (NUMBA_DISABLE_JIT)
            # What `cache=True` does, with a store of our own (numba 0.61 to 0.68).
            compiled._cache = KernelStore(  # noqa: SLF001
                kernel_folder(function.__module__), function.__qualname__, repr(options)
            )
            _widen_literals(compiled)
        return cast("_Function", compiled)

    return decorate


def _widen_literals(compiled: Any) -> None:  # noqa: ANN401 - numba's dispatcher
    """Make other kernels call a kernel with `int64`, never with `Literal[int](1)`.

    Numba compiles a kernel anew for every literal it is called with, and all that it calls.
    """
    from numba.core import types

    widened: Any = types.unliteral
    template_of = compiled.get_call_template

    def template(args: Any, kws: Any) -> Any:  # noqa: ANN401 - numba's types
        return template_of(
            tuple(widened(arg) for arg in args), {name: widened(arg) for name, arg in kws.items()}
        )

    compiled.get_call_template = template


def is_compiled(compiled: Any) -> bool:  # noqa: ANN401 - numba's dispatcher
    """Whether a kernel is compiled, in memory or in the folder, for some types of arguments."""
    if not hasattr(compiled, "signatures"):
        return True  # numba is switched off
    return bool(compiled.signatures) or compiled._cache.is_whole()  # noqa: SLF001


def not_compiled(solver: str, needed_s: float, available_s: float) -> TimeLimitError:
    """The error of a solver that has less time than compiling its kernels may take."""
    available_s = max(available_s, 0.0)
    return TimeLimitError(
        f"the kernels of {solver} are not compiled yet, which may take {needed_s:.0f} s, and "
        f"{available_s:.3g} s are left; compile them once per installation with "
        "`ullage warm-up`, or give more time (--time-limit)",
        {"solver": solver, "needed_s": needed_s, "available_s": available_s},
    )


def too_late_to_compile(what: str, needed_s: float) -> str:
    """The note of a solver that goes on without some kernels because time is too short.

    Args:
        what: the solver, and what it does instead.
        needed_s: seconds that compiling may take.
    """
    return (
        f"{what}: kernels are not compiled yet, which may take {needed_s:.0f} s, and the time is "
        "too short for that; `ullage warm-up` compiles them once per installation"
    )


@contextmanager
def compiling_told(tell: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """While the context is open, `tell` is called whenever kernels are being compiled.

    Args:
        tell: shows a text in place of the one before.

    Yields:
        A function that shows other texts; the last of them is shown again after compiling.
    """

    def remember(text: str) -> None:
        activity.text = text
        tell(text)

    before = (activity.tell, activity.text)
    activity.tell, activity.text, activity.depth = tell, "", 0
    try:
        yield remember
    finally:
        activity.tell, activity.text = before


def cache_folder() -> Path | None:
    """The folder of all compiled kernels, which may not exist yet; None where there is no home.

    It is `ULLAGE_CACHE_DIR` where that is set, else the operating system's cache folder of the
    user.
    """
    own_folder = os.environ.get(CACHE_VARIABLE)
    try:
        if own_folder:
            return Path(own_folder).expanduser().absolute() / "kernels"
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            caches = Path(local) if local else Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            caches = Path.home() / "Library" / "Caches"
        else:
            xdg_caches = os.environ.get("XDG_CACHE_HOME", "")
            caches = Path(xdg_caches) if Path(xdg_caches).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # nobody's home
        return None
    return caches / "ullage" / "kernels"


def can_keep() -> bool:
    """Whether compiled kernels can be written to their folder; if not, warns once per process."""
    root = cache_folder()
    if root is None:
        activity.failed(NO_HOME)
        return False
    try:
        root.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=root).close()
    except OSError as error:
        activity.failed(f"{root}: {error.strerror or error}")
        return False
    return True


@cache
def kernel_folder(module: str) -> Path | None:
    """The folder in which the kernels of a module are kept; None where they cannot be kept.

    Args:
        module: its name. The modules that it imports have been imported.
    """
    root = cache_folder()
    try:
        contents = [(name, path.read_bytes()) for name, path in kernel_sources(module)]
    except OSError as error:  # an archive, or an executable without sources
        activity.failed(f"the sources cannot be read: {error}")
        return None
    if root is None:
        activity.failed(NO_HOME)
        return None
    digest = hashlib.sha256(_machine().encode())
    for name, data in contents:
        digest.update(f"\0{name}\0{len(data)}\0".encode() + data)
    return root / f"{module.rpartition('.')[2]}-{digest.hexdigest()[:16]}"


@cache
def kernel_sources(module: str) -> tuple[tuple[str, Path], ...]:
    """Names and files of the sources that the kernels of a module are compiled from, by name.

    These are the module itself, the modules of ullage that it imports at the top (for constants and
    named tuples), and, where one of those has kernels too, the sources of those kernels. A constant
    in a module without kernels must not be computed from one in a module further away: a change
    there would not be noticed.

    Raises:
        OSError: a file cannot be read.
    """
    files = {module: _file_of(module)}
    for name in _imports_of(files[module]):
        files[name] = _file_of(name)
        if name in _with_kernels:
            files.update(kernel_sources(name))
    return tuple(sorted(files.items()))


def has_kernels(module: str) -> None:
    """Note that a module, which is being imported, has kernels."""
    _with_kernels.add(module)


# Modules with kernels that have been imported so far; callees are imported before their callers.
_with_kernels: set[str] = set()


def _file_of(module: str) -> Path:
    return Path(str(sys.modules[module].__file__))


def _imports_of(file: Path) -> set[str]:
    """Names of the modules of ullage that a file imports at its top."""
    names: set[str] = set()
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    names -= {__name__}
    imported = (name for name in names if name.startswith("ullage.") and name in sys.modules)
    return {name for name in imported if getattr(sys.modules[name], "__file__", None)}


@cache
def _machine() -> str:
    """Text of everything besides its sources that compiled code depends on: versions and CPU."""
    import llvmlite.binding as llvm
    import numba
    import numpy as np

    config: Any = numba.config
    return "\0".join(
        (
            FORMAT,
            numba.__version__,
            np.__version__,
            sys.version,
            llvm.get_process_triple(),
            str(config.CPU_NAME or llvm.get_host_cpu_name()),
            str(config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()),
        )
    )
