"""Home copies take the space of what is stored, and no more."""

from dataclasses import replace

from tests.support.cases import target_of
from tests.support.targets import Op, make_problem
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions


def test_what_never_comes_home_takes_no_space_there() -> None:
    sram, dram = target_of(1024).tiers
    problem = make_problem(
        {
            "x": ("input", 64),
            "a": ("activation", 4096),
            "b": ("activation", 4096),
            "y": ("output", 64),
        },
        [Op("one", ("x",), ("a",)), Op("two", ("a",), ("b",)), Op("three", ("b",), ("y",))],
        target_of(0, tiers=(sram, replace(dram, capacity_bytes=65536))),
    )
    done = compile_problem(problem, CompileOptions(solver="fluid"))
    cut = [r for r in done.plan.residencies if r.tier == "dram" and r.start_byte > 0]
    assert cut  # a tensor that is in fast memory in part, for all its life
    assert done.score.peak_bytes["dram"] == done.score.load_bytes["dram"]
