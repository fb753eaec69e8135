"""Dataclasses that may change, which artefacts may not: they are shared, compared and hashed."""

from dataclasses import is_dataclass
from types import ModuleType


def changeable(module: ModuleType) -> list[str]:
    """Names of the dataclasses of a module whose fields can be assigned to."""
    return [
        name
        for name, kind in vars(module).items()
        if is_dataclass(kind)
        and kind.__module__ == module.__name__
        and not kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    ]
