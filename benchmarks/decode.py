"""Decoding with caches that stay in place: what `--state auto` saves, and that it is right.

For each model a plan with input and output caches apart and one with states. Models of this file
are executed, eight inferences in a row; decode models of the public set are planned and verified.

Run: python benchmarks/decode.py [--models DIR] [--limit SECONDS]
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from common import write_table

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.decode_models import Decoder, growing_decoder, preallocated_decoder
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.execute.runner import RunOptions, run_plan

INFERENCES = 8
COLUMNS = (
    "model",
    "states",
    "states KiB",
    "written per inference KiB",
    "buffers KiB: apart",
    "in place",
    "slow traffic KiB: apart",
    "in place",
    "latency ms: apart",
    "in place",
    "gap %",
    "inferences run",
    "equal",
)


@dataclass(frozen=True)
class Task:
    """A model to plan: its file, the target and the size of its fast memory, its dimensions."""

    file: Path
    target: str
    fast_bytes: int | None
    dims: tuple[tuple[str, int], ...] = ()
    dtype: str | None = None
    runs: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--limit", type=float, default=60.0)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks(Path(folder), given.models):
            rows.append(row_of(task, given.limit))
            print(" ".join(rows[-1]), flush=True)
    write_table("decode", "Decoding with caches in place", COLUMNS, rows)


def tasks(folder: Path, public: Path) -> list[Task]:
    """The models of this file, written into a folder, and those of the public set, if there."""
    gpt = Decoder(
        layers=4,
        heads=8,
        kv_heads=8,
        head_size=32,
        hidden=1024,
        vocabulary=1000,
        length="past",
    )
    llama = Decoder(
        layers=4,
        heads=8,
        kv_heads=2,
        head_size=32,
        hidden=704,
        vocabulary=1000,
        length=256,
        gated=True,
    )
    made = {
        "gpt2_like_decode": growing_decoder(gpt),
        "llama_like_decode": preallocated_decoder(llama),
    }
    for name, model in made.items():
        onnx.save(model, folder / f"{name}.onnx")
    past = (("past", 255),)
    listed = [
        Task(folder / "gpt2_like_decode.onnx", "edge-npu", 1 << 20, past, runs=True),
        Task(folder / "llama_like_decode.onnx", "edge-npu", 1 << 20, runs=True),
    ]
    for name in ("tinyllama_1b_decode_512", "llama7b_decode_1024"):
        file = public / f"{name}.onnx"
        if file.exists():
            listed.append(Task(file, "phone-npu-flash", None, dtype="float16"))
    if (public / "mlp_train.onnx").exists():
        listed.append(Task(public / "mlp_train.onnx", "edge-npu", 1 << 19, runs=True))
    return listed


def row_of(task: Task, limit_s: float) -> list[str]:
    """Plan a model twice and run it, where it can be run."""
    apart, kept = (planned(task, limit_s, states) for states in ((), ("auto",)))
    states = summarise(kept)["state"]
    ran = equal = "-"
    if task.runs:
        done = run_plan(task.file, kept.plan, RunOptions(inferences=INFERENCES))
        ran, equal = str(done.inferences), "yes" if done.passed else "NO"
    sizes = [
        sum(b.size_bytes for b in c.plan.problem.buffers if not b.constant) for c in (apart, kept)
    ]
    traffic = [sum(c.score.traffic_bytes.values()) for c in (apart, kept)]
    return [
        task.file.stem,
        str(len(states)),
        kib(sum(state["bytes"] for state in states)),
        kib(sum(state["written_bytes"] for state in states)),
        *map(kib, sizes),
        *map(kib, traffic),
        *(f"{1e3 * c.score.latency_s:.4g}" for c in (apart, kept)),
        "-" if kept.gap is None else f"{100 * kept.gap:.3g}",
        ran,
        equal,
    ]


def planned(task: Task, limit_s: float, states: tuple[str, ...]) -> Compiled:
    """The plan of `fluid`, operators whole, in steady state."""
    return compile_model(
        task.file,
        CompileOptions(
            target=task.target,
            solver="fluid",
            fast_memory_bytes=task.fast_bytes,
            dims=dict(task.dims),
            dtype=task.dtype,
            states=states,
            steady_state=True,
            schedule="whole",
            time_limit_s=limit_s,
        ),
    )


def kib(size: float) -> str:
    return f"{size / 1024:.1f}"


if __name__ == "__main__":
    main()
