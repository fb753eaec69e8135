"""Hostile ONNX files, target files, plan files and values of options, a quarter of the cases each.

    python benchmarks/fuzz_inputs.py --cases 800   # exit code 1 when a case fails

Each case is one or two calls of the command line. Every call must end with a documented exit code
and without a traceback, `--json` print one document and nothing else, text hold no control
characters, and a call that fails leave no file. Plans that are written are verified anew, and no
report is made of an illegal one. Cases run in worker processes with 4 GB of memory and 20 s of
CPU time per case; a worker that dies or hangs fails the case it was at, and another takes over.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import write_table

from tests.support.hostile import hostile_file
from tests.support.hostile_words import hostile_option, hostile_target
from tests.support.models import model_file
from tests.support.plan_mutants import sample, text_of
from ullage.cli.main import run

KINDS = ("file", "target", "plan", "option")
CASE_S = 20.0  # of CPU time
KILL_S = 300.0  # a case that hangs in native code never sees its alarm
MEMORY_BYTES = 4 << 30
# Documented codes, without those of defects (70) and lost output (74).
CODES = (0, 2, 3, 4, 5, 6, 7)
FORMS = "json,html,csv,operators,c,trace,onnx,svg"
MODEL = "residual"
# What no text on a terminal may hold.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class OverTimeError(BaseException):
    """The case took longer than it may; nothing below must catch it."""


def over_time(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise OverTimeError


def called(arguments: Sequence[object]) -> tuple[int, str, str]:
    """(exit code, stdout, what is wrong with it) of a call."""
    out, err = io.StringIO(), io.StringIO()
    words = [str(word) for word in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    said = out.getvalue()
    wrong = "" if code in CODES else f"exit code {code}: {(said + err.getvalue())[:600]}"
    if "Traceback" in said + err.getvalue():
        wrong = wrong or f"a traceback: {err.getvalue()[-600:]}"
    if "--json" in words:
        document = json.loads(said)
        wrong = wrong or ("" if code in (0, 5) or "error" in document else "no error document")
    elif found := CONTROL.search(said + err.getvalue()):
        wrong = wrong or f"the control character {found.group()!r}"
    return code, said, f"{' '.join(words)[:200]!a}: {wrong}" if wrong else ""


@cache
def sound_plan() -> dict[str, Any]:
    """A plan with residencies in slices and transfers."""
    with tempfile.TemporaryDirectory() as folder:
        called(
            ["compile", model_file(MODEL), "--fast-memory", "2KiB", "--solver", "msa", "-o", folder]
        )
        document: dict[str, Any] = json.loads((Path(folder) / "plan.json").read_bytes())
        return document


def compiled(model: Path, *options: object) -> str:
    """Compile into `out`; what is wrong."""
    words = ["compile", model, "-o", "out", "--emit", FORMS, *options, "--json"]
    code, _, wrong = called(words)
    there = [path.name for path in Path("out").rglob("*")] if Path("out").exists() else []
    if code and there:
        return wrong or f"exit code {code}, and files stay behind: {there}"
    return wrong or (called(["verify", "out/plan.json"])[2] if code == 0 else "")


def file_case(seed: int, random: Random) -> tuple[str, str]:
    name, data = hostile_file(seed)
    path = Path("case.onnx")
    path.write_bytes(data)
    return name, compiled(path, *random.choice(((), ("--no-fuse",), ("--steady-state",))))


def target_case(_seed: int, random: Random) -> tuple[str, str]:
    name, data = hostile_target(random)
    Path("target.yaml").write_bytes(data)
    solver = random.choice(("greedy", "msa", "fluid", "all-slow"))
    objective = random.choice(("latency", "energy", "traffic"))
    options = ("--target", "target.yaml", "--solver", solver, "--objective", objective)
    code, _, wrong = called(["targets", "validate", "target.yaml"])
    return name, wrong or (compiled(model_file(MODEL), *options) if code == 0 else "")


def plan_case(seed: int, random: Random) -> tuple[str, str]:
    name, mutant = next(sample(sound_plan(), 1, seed))
    Path("plan.json").write_bytes(text_of(mutant))
    legal, _, wrong = called(["verify", "plan.json"])
    others = (["report", "plan.json", "-o", "r.html"], ["diff", "plan.json", "plan.json"])
    command = random.choice((*others, ["run", model_file(MODEL), "plan.json"]))
    code, _, also = called(command)
    if legal and code == 0 and command[0] != "run":
        also = f"{command[0]} took a plan that verify refuses"
    if code and Path("r.html").exists():
        also = "a report stays behind"
    return name, wrong or also


def option_case(_seed: int, random: Random) -> tuple[str, str]:
    command, option, value = hostile_option(random)
    plan, model = Path("plan.json"), model_file(MODEL)
    plan.write_bytes(json.dumps(sound_plan()).encode())
    Path("case.csv").write_text("id,lower,upper,size\na,0,2,8\nb,1,3,8\n")
    subject: dict[str, list[object]] = {
        "pack": ["case.csv"],
        "verify": [plan],
        "report": [plan],
        "run": [model, plan],
        "diff": [plan, plan],
        "sweep": [model, "--solver", "greedy", "--points", "2", "--fast-memory", "2KiB..8KiB"],
        "compare": [model, "--solvers", "greedy,all-slow"],
        "compile": [model, "--solver", "greedy"],
    }
    before = set(Path().iterdir())
    words = [command, *subject.get(command, [model]), option, value]
    code, _, wrong = called([*words, "--json"] if random.random() < 0.5 else words)
    left = [path.name for path in set(Path().iterdir()) - before] if code not in (0, 5) else []
    return f"{command} {option}", wrong or (f"left behind: {left}" if left else "")


CASES = {"file": file_case, "target": target_case, "plan": plan_case, "option": option_case}


def outcome_of(seed: int) -> dict[str, Any]:
    """What one case came to, in an empty working folder."""
    kind = KINDS[seed % len(KINDS)]
    begun = time.process_time()
    name = wrong = ""
    signal.setitimer(signal.ITIMER_PROF, CASE_S)
    try:
        name, wrong = CASES[kind](seed // len(KINDS), Random(seed))  # noqa: S311 - no secrets
    except OverTimeError:
        wrong = f"took longer than {CASE_S} s: {traceback.format_exc(limit=-6)}"
    except BaseException:  # noqa: BLE001 - whatever reaches us is the finding
        wrong = traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    cpu_s = time.process_time() - begun
    return {"seed": seed, "kind": kind, "name": name, "wrong": wrong, "cpu_s": cpu_s}


def work(start: int, stop: int) -> None:
    """Run cases and print a JSON line before and after each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, over_time)
    sound_plan()
    for seed in range(start, stop):
        print(json.dumps({"begin": seed}), flush=True)
        faulthandler.dump_traceback_later(KILL_S, exit=True)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            outcome = outcome_of(seed)
        print(json.dumps(outcome), flush=True)
        faulthandler.cancel_dump_traceback_later()


def batch(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Outcomes of cases, restarting the worker behind each case that kills it."""
    while start < stop:
        words = [sys.executable, str(Path(__file__).resolve()), "--work", str(start), str(stop)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        yield from (line for line in lines if "begin" not in line)
        if done.returncode == 0:
            return
        seed = int((lines or [{"begin": start}])[-1].get("begin", start))
        wrong = f"the worker died with code {done.returncode}: {done.stderr[-600:]}"
        kind = KINDS[seed % len(KINDS)]
        yield {"seed": seed, "kind": kind, "name": "", "wrong": wrong, "cpu_s": 0.0}
        start = seed + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=800)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--batch", type=int, default=200, help="cases per worker process")
    parser.add_argument("--work", type=int, nargs=2, metavar=("START", "STOP"), help="be a worker")
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    end = options.first + options.cases
    found = []
    for start in range(options.first, end, options.batch):
        found += list(batch(start, min(end, start + options.batch)))
    failed = [outcome for outcome in found if outcome["wrong"]]
    cases, failures = (Counter(o["kind"] for o in group) for group in (found, failed))
    slowest = {k: max((o["cpu_s"] for o in found if o["kind"] == k), default=0.0) for k in KINDS}
    rows = [[k, str(cases[k]), str(failures[k]), f"{slowest[k]:.1f}"] for k in KINDS]
    columns = ["input", "cases", "failed", "slowest [CPU s]"]
    print(write_table("fuzz_inputs", f"Hostile inputs, {len(found)} seeded cases", columns, rows))
    for outcome in failed:
        print(f"\nFAILED seed {outcome['seed']} ({outcome['kind']}, {outcome['name']!a}):")
        print(outcome["wrong"])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
