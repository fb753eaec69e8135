"""Table of outcomes of hostile ONNX files: each must end in an error by name or in a legal plan.

python benchmarks/fuzz_import.py --cases 1000   # exit code 1 when a case fails

Cases run in batches inside worker processes with 4 GB of address space and 20 s per case; a worker
that dies or hangs fails the case it was at, and another one takes over after it.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import write_table

from tests.support.hostile import hostile_file
from ullage.cli.main import run
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.verify.verifier import verify

CASE_S = 20
KILL_S = 30  # a case that hangs in native code never sees its alarm
MEMORY_BYTES = 4 << 30
ALLOWED = {0: "plan", 2: "usage", 3: "model", 4: "infeasible"}


class OverTimeError(BaseException):
    """The case took longer than it may; nothing below must catch it."""


def over_time(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise OverTimeError


def outcome_of(seed: int, folder: Path) -> dict[str, Any]:
    """What one case came to: generator, exit code, message, and what is wrong with that."""
    generator, data = hostile_file(seed)
    path, written = folder / "case.onnx", folder / "plan"
    path.write_bytes(data)
    arguments = ["compile", str(path), "--json", "-o", str(written)]
    if seed % 3 == 0:
        arguments.append("--no-fuse")
    if seed % 5 == 0:
        arguments += ["--dim", "batch=2"] if b"batch" in data else []
    printed = io.StringIO()
    wrong, code = "", -1
    begun = time.monotonic()
    signal.alarm(CASE_S)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = run(arguments)
        signal.alarm(0)
        wrong = complaint(code, printed.getvalue(), written)
    except OverTimeError:
        wrong = f"took longer than {CASE_S} s: {traceback.format_exc(limit=-6)}"
    except Exception:  # noqa: BLE001 - any exception that reaches us is the finding
        wrong = traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    return {
        "seed": seed,
        "generator": generator,
        "code": code,
        "wrong": wrong,
        "elapsed_s": time.monotonic() - begun,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "message": message_of(printed.getvalue()),
    }


def message_of(printed: str) -> str:
    try:
        return str(json.loads(printed).get("error", {}).get("message", ""))
    except ValueError:
        return ""


def complaint(code: int, printed: str, written: Path) -> str:
    """What is wrong with an exit code and what was left behind; empty when nothing is."""
    if code not in ALLOWED:
        return f"exit code {code}: {printed[:300]}"
    document = json.loads(printed)
    if code:
        left = [p.name for p in written.rglob("*")] if written.exists() else []
        if left:
            return f"exit code {code}, and files stay behind: {left}"
        error = document["error"]
        known = error["kind"] == ALLOWED[code] and error["message"]
        return "" if known else f"exit code {code} with an error that does not fit: {error}"
    verify(read_plan(written / "plan.json"))
    return "" if document["verified"] is True else "a plan that is not verified"


def work(start: int, stop: int) -> None:
    """Run cases and print a JSON line before and after each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, over_time)
    for seed in range(start, stop):
        print(json.dumps({"begin": seed}), flush=True)
        faulthandler.dump_traceback_later(KILL_S, exit=True)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(outcome_of(seed, Path(folder))), flush=True)
        faulthandler.cancel_dump_traceback_later()


def batch(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Outcomes of cases, restarting the worker behind each case that kills it."""
    while start < stop:
        with tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                [sys.executable, __file__, "--work", str(start), str(stop)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=False,
            )
            errors.seek(0)
            tail = errors.read()[-600:]
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        yield from (line for line in lines if "begin" not in line)
        if done.returncode == 0:
            return
        last = lines[-1] if lines else {"begin": start}
        seed = int(last.get("begin", last.get("seed", start)))
        yield {
            "seed": seed,
            "generator": hostile_file(seed)[0],
            "code": done.returncode,
            "wrong": f"the worker died with code {done.returncode}: {tail}",
            "elapsed_s": 0.0,
            "peak_bytes": 0,
            "message": "",
        }
        start = seed + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--batch", type=int, default=100, help="cases per worker process")
    parser.add_argument("--verbose", action="store_true", help="print the message of every case")
    parser.add_argument("--work", type=int, nargs=2, metavar=("START", "STOP"), help="be a worker")
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    begun = time.monotonic()
    end = options.first + options.cases
    found = []
    for start in range(options.first, end, options.batch):
        for outcome in batch(start, min(end, start + options.batch)):
            found.append(outcome)
            if options.verbose:
                print(outcome["seed"], outcome["generator"], outcome["code"], outcome["message"])
    columns = [*ALLOWED.values(), "failed"]
    counts: Counter[tuple[str, str]] = Counter(
        (o["generator"], "failed" if o["wrong"] else ALLOWED[o["code"]]) for o in found
    )
    rows = [
        [generator, *(str(counts[generator, c]) for c in columns)]
        for generator in sorted({o["generator"] for o in found})
    ]
    totals = [sum(n for (_, c), n in counts.items() if c == column) for column in columns]
    rows.append(["all", *map(str, totals)])
    title = f"Hostile ONNX files, {len(found)} seeded cases"
    print(write_table("fuzz", title, ["generator", *columns], rows))
    slowest = max(found, key=lambda o: o["elapsed_s"])
    print(
        f"\n{len(found)} cases in {time.monotonic() - begun:.0f} s; slowest "
        f"{slowest['elapsed_s']:.1f} s (seed {slowest['seed']}, {slowest['generator']}); "
        f"largest resident set {max(o['peak_bytes'] for o in found) / 2**20:.0f} MiB"
    )
    failed = [o for o in found if o["wrong"]]
    for outcome in failed:
        print(f"\nFAILED seed {outcome['seed']} ({outcome['generator']}):\n{outcome['wrong']}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
