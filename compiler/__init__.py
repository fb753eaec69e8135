"""From an ONNX file to a verified, scored plan.

The names below load what they need when first used, so that importing this package is free.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.compiler.driver.compile import (
        Compiled,
        CompileOptions,
        compile_model,
        compile_problem,
    )

__all__ = ["CompileOptions", "Compiled", "compile_model", "compile_problem"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    if name not in __all__:
        raise AttributeError(name)
    from ullage.compiler.driver import compile as pipeline

    return getattr(pipeline, name)
