"""Target files made for tests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ullage.compiler.common.errors import UsageError
from ullage.hwmodels.catalog.registry import load_target


def figure(value: Any, **extra: str) -> dict[str, Any]:
    return {"value": value, "source": "a test", "confidence": "low"} | extra


def tier(name: str, bandwidth: float, **extra: Any) -> dict[str, Any]:
    entry = {
        "name": name,
        "capacity_bytes": figure("1MiB"),
        "read_bytes_per_s": figure(bandwidth),
        "write_bytes_per_s": figure(bandwidth),
        "alignment_bytes": figure(16),
        "read_energy_j_per_byte": figure(1e-12),
        "write_energy_j_per_byte": figure(2e-12),
    }
    return entry | extra


def link(source: str, destination: str) -> dict[str, Any]:
    return {
        "source": source,
        "destination": destination,
        "bandwidth_bytes_per_s": figure(4e9, unit="bytes/s"),
    }


# Sections of compute models.
BLOCK_FIELDS = {
    "cores": 2,
    "unit_height": 2,
    "unit_width": 1,
    "unit_channels": 8,
    "dot_channels": 8,
    "step_cycles": 4,
    "weights_per_cycle": 8,
    "block_elements": 3072,
    "block_channels": 128,
}
BLOCKS = {
    "clock_hz": figure(1e9),
    **{key: figure(value) for key, value in BLOCK_FIELDS.items()},
    "output_cycles": {"default": figure(0.5), "Add": figure(1.5)},
}
KERNELS = {
    "clock_hz": figure(1e8),
    "macs": {"int8": {"default": figure(1.5), "depthwise": figure(4)}},
    "elements": {"int8": {"default": figure(2), "output": figure(3), "MaxPool": figure(1)}},
}
GRID = {"rows": figure(8), "columns": figure(4), "clock_hz": figure(1e9)}


def chip() -> dict[str, Any]:
    """A small valid target file."""
    return {
        "name": "chip",
        "description": "A chip of the tests",
        "tiers": [tier("sram", 64e9), tier("dram", 4e9)],
        "links": [link("dram", "sram"), link("sram", "dram")],
        "compute": {
            "macs_per_s": {"int8": figure("1e12")},
            "vector_elements_per_s": figure(1e9),
        },
        "homes": dict.fromkeys(("input", "weight", "activation", "output"), "dram"),
        "slice_granularity": figure(256),
    }


def write(folder: Path, document: Any, name: str = "chip.yaml") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return str(path)


def refused(path: str, overrides: dict[str, str] | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_target(path, overrides)
    return caught.value
