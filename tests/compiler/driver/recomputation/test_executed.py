"""Plans in which operators run again compute what the model computes, bit by bit."""

from pathlib import Path

import pytest

from tests.support.training import saved_step
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.recomputation.told import recomputation_of
from ullage.compiler.execute.runner import run_plan

RATED = ("tiers.dram.read", "tiers.dram.write", "links.dram->sram.", "links.sram->dram.")
WIDTH = 32


@pytest.mark.parametrize(
    ("layers", "batch", "activations", "bytes_per_s"),
    [
        (3, 256, 4, 2e8),
        (4, 256, 4, 5e8),
        (6, 128, 4, 5e8),
        (6, 256, 5, 5e8),
        (6, 256, 6, 5e8),
        (8, 256, 5, 5e8),
        (8, 256, 6, 1e9),
        (10, 64, 6, 5e8),
    ],
)
def test_every_recomputed_plan_of_a_small_step(
    tmp_path: Path, layers: int, batch: int, activations: int, bytes_per_s: float
) -> None:
    path = saved_step(tmp_path, layers=layers, batch=batch, width=WIDTH)
    fields = [
        f"{name}bandwidth_bytes_per_s" if name.endswith(".") else f"{name}_bytes_per_s"
        for name in RATED
    ]
    compiled = compile_model(
        path,
        CompileOptions(
            fast_memory_bytes=activations * batch * WIDTH * 4,
            overrides=dict.fromkeys(fields, str(bytes_per_s)),
            solver="fluid",
            recompute="auto",
        ),
    )
    assert recomputation_of(compiled.plan).steps > 0
    assert compiled.repetitions_bound is not None
    assert compiled.repetitions_bound.value <= compiled.value
    execution = run_plan(path, compiled.plan)
    assert execution.passed
    assert len(execution.outputs) == layers + 1
    assert all(output.bit_exact for output in execution.outputs)
