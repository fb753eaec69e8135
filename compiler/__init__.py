"""The compiler: from an ONNX file to a verified, scored memory plan.

The names below import their modules when they are first used, so importing this package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.compiler.driver.compile import compile_model, compile_problem
    from ullage.compiler.driver.options import CompileOptions
    from ullage.compiler.driver.result import Compiled

__all__ = ["CompileOptions", "Compiled", "compile_model", "compile_problem"]

# Public name -> module that has it.
_MODULES = {
    "CompileOptions": "ullage.compiler.driver.options",
    "Compiled": "ullage.compiler.driver.result",
    "compile_model": "ullage.compiler.driver.compile",
    "compile_problem": "ullage.compiler.driver.compile",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(_MODULES[name]), name)
