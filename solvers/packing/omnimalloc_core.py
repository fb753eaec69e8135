"""omnimalloc's C++ core, imported without its plots."""

import sys
import threading
from functools import cache
from typing import Any

# Name of the package that omnimalloc imports for its plots.
_PLOTS = "matplotlib"
_lock = threading.Lock()


@cache
def core() -> Any:  # noqa: ANN401 - a compiled module without types
    """The module `omnimalloc._cpp`.

    omnimalloc imports matplotlib where that is installed, for plots that are not needed here: half
    a second of every start. Unless matplotlib is imported already, it is hidden from that import.
    """
    with _lock:
        is_hidden = _PLOTS not in sys.modules
        if is_hidden:
            sys.modules[_PLOTS] = None  # type: ignore[assignment] # imports of it fail
        try:
            from omnimalloc import _cpp
        finally:
            if is_hidden:
                del sys.modules[_PLOTS]
    return _cpp
