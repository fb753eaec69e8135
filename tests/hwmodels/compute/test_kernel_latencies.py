"""Kernels of microcontrollers and their operands beside published latencies, where networks are."""

from pathlib import Path

import pytest

from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.hwmodels.catalog.registry import describe
from ullage.solvers.run import run_solver

MODELS = Path(__file__).parents[4] / "shared" / "validation" / "models"


@pytest.mark.skipif(not MODELS.is_dir(), reason="no networks beside the project")
@pytest.mark.parametrize("chip", ["stm32h7a3", "stm32l4r5", "stm32u575"])
def test_kernels_take_what_mlperf_tiny_reports(chip: str) -> None:
    runs = describe(chip).published.runs
    assert len(runs) == 4
    for run in runs:
        options = FrontendOptions(target=chip, dtype=run.dtype, batch=run.batch)
        problem = prepare(MODELS / f"{run.model}.onnx", options).problem
        ours = run_solver("greedy", problem).value
        assert 0.8 <= ours / run.latency_s.value <= 1.25, run.model
