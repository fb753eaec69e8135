"""`trace`: the plan's timeline in Chrome's Trace Event Format, for Perfetto and chrome://tracing.

There are two processes: the plan as the cost model times it (steps one after the other; within a
step compute, links and tier ports side by side), and the event-driven replay. Times are in
microseconds, as the format demands. Format: "Trace Event Format", the Chromium project.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.cascades import cascades_detail
from ullage.compiler.driver.operators import step_figures
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.cascades import find_cascades
from ullage.compiler.ir.part_names import axis_names_of, operator_name
from ullage.compiler.ir.plan import Plan, Transfer
from ullage.compiler.ir.program import DMA_STEP, Step
from ullage.hwmodels.resources import resources

# Processes of the trace: the cost model, and the replay.
MODEL_PID, REPLAY_PID = 1, 2
# Threads (lanes) of a process; link l and port m have the first one of their kind plus l or m.
STEP_TID, COMPUTE_TID, CASCADE_TID, FIRST_LINK_TID, FIRST_PORT_TID = 1, 2, 3, 10, 100
# Microseconds per second.
_MICROSECONDS = 1e6

# An event of the format: keys are those of the Trace Event Format.
Event = dict[str, Any]


def emit_trace(compiled: Compiled, folder: Path) -> Path:
    """Write `trace.json`; open it in ui.perfetto.dev."""
    path = folder / "trace.json"
    write_atomic(path, json.dumps(trace_document(compiled)).encode())
    return path


def trace_document(compiled: Compiled) -> dict[str, Any]:
    """The trace as a JSON object: `traceEvents`, and names and figures of the plan."""
    plan = compiled.plan
    events = [*_names(plan), *_model_events(compiled), *_replay_events(compiled)]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "model": plan.problem.name,
            "target": plan.target.name,
            "solver": plan.solver,
            "latency_s": compiled.score.latency_s,
            "simulated_latency_s": compiled.simulation.latency_s,
        },
    }


def _names(plan: Plan) -> Iterator[Event]:
    """Names of processes and lanes, lanes in the order of their numbers."""
    cut = {CASCADE_TID: "cascades"} if find_cascades(plan.program) else {}
    links = [f"link {link.name}" for link in plan.target.links]
    ports = [f"port {tier.name}" for tier in plan.target.tiers]
    model = {STEP_TID: "steps (what binds)", COMPUTE_TID: "compute"} | cut
    model |= dict(enumerate(links, FIRST_LINK_TID)) | dict(enumerate(ports, FIRST_PORT_TID))
    replay = {COMPUTE_TID: "operators"} | dict(enumerate(links, FIRST_LINK_TID))
    for pid, name, lanes in (
        (MODEL_PID, "plan, by the cost model", model),
        (REPLAY_PID, "event-driven replay", replay),
    ):
        yield _meta(pid, 0, "process_name", {"name": name})
        for tid, lane in lanes.items():
            yield _meta(pid, tid, "thread_name", {"name": lane})
            yield _meta(pid, tid, "thread_sort_index", {"sort_index": tid})


def _model_events(compiled: Compiled) -> Iterator[Event]:
    plan, score = compiled.plan, compiled.score
    begins = np.concatenate([[0.0], np.cumsum(score.elapsed_s)]).tolist()
    figures = step_figures(plan, score)
    elapsed, compute = score.elapsed_s.tolist(), score.compute_by_step.tolist()
    overhead = score.overhead_by_step.tolist()
    for t, (step, binds) in enumerate(zip(plan.problem.steps, figures.bound_by, strict=True)):
        details = {
            "step": t,
            "kind": step.kind,
            "binds": binds,
            "stall_us": float(figures.stall_s[t]) * _MICROSECONDS,
            **_part(step),
        }
        yield _span((MODEL_PID, STEP_TID), step.name, begins[t], elapsed[t], details)
        if step.kind != DMA_STEP:
            work = {"step": t, "macs": step.macs, "vector_elements": step.vector_elements}
            busy_s = overhead[t] + compute[t]
            yield _span((MODEL_PID, COMPUTE_TID), step.name, begins[t], busy_s, work)
    yield from _cascades(compiled, begins)
    yield from _moves(plan, begins)
    ports = score.tier_seconds.tolist()
    for m, tier in enumerate(plan.target.tiers):
        lane = (MODEL_PID, FIRST_PORT_TID + m)
        for t, seconds in enumerate(ports[m]):
            if seconds > 0:
                share = {"step": t, "busy_share": seconds / elapsed[t] if elapsed[t] else 0.0}
                yield _span(lane, tier.name, begins[t], seconds, share)
    for tier_name, live in live_bytes(plan).items():
        for t, held in enumerate(live):
            yield _counter(f"{tier_name} bytes", begins[t], {"live": held})


def _part(step: Step) -> dict[str, Any]:
    """Operator and ranges of a step that runs a part; nothing of any other."""
    if not step.ranges:
        return {}
    ranges = zip(axis_names_of(step), step.ranges, strict=True)
    return {
        "operator": operator_name(step),
        "ranges": {name: [r.start, r.end] for name, r in ranges},
    }


def _cascades(compiled: Compiled, begins: Sequence[float]) -> Iterator[Event]:
    """One event per cascade, with its figures, and inside it one per stripe."""
    plan = compiled.plan
    rows = cascades_detail(plan, compiled.score, compiled.whole)
    lane = (MODEL_PID, CASCADE_TID)
    for cascade, row in zip(find_cascades(plan.program), rows, strict=True):
        ends = dict.fromkeys((cascade.names[0], cascade.names[-1]))
        begin, end = begins[cascade.first], begins[cascade.end]
        yield _span(lane, " to ".join(ends), begin, end - begin, row)
        for number, (first, behind) in enumerate(pairwise((*cascade.stripes, cascade.end)), 1):
            seconds = begins[behind] - begins[first]
            yield _span(lane, f"stripe {number}", begins[first], seconds, {"step": first})


def _moves(plan: Plan, begins: Sequence[float]) -> Iterator[Event]:
    """One event per move; the moves of a link in one step follow each other."""
    table = resources(plan.problem)
    free = [0.0] * len(table.links)
    rows = [
        (step, number, index, size)
        for index, transfer in enumerate(plan.transfers)
        for number, (step, size) in enumerate(transfer.moves)
    ]
    for step, number, index, size in sorted(rows, key=lambda row: (row[0], row[2])):
        transfer = plan.transfers[index]
        link = table.link_of(transfer)
        setup_s = 0.0 if number else float(table.setup_s[link])
        seconds = setup_s + size / float(table.move_rate[link])
        begin = max(free[link], begins[step])
        free[link] = begin + seconds
        details = {"step": step, "bytes": size, "transfer": index}
        name = _title(plan, transfer)
        yield _span((MODEL_PID, FIRST_LINK_TID + link), name, begin, seconds, details)


def _replay_events(compiled: Compiled) -> Iterator[Event]:
    plan, replay = compiled.plan, compiled.simulation
    starts, ends = replay.step_start_s.tolist(), replay.step_end_s.tolist()
    for t, step in enumerate(plan.problem.steps):
        if step.kind != DMA_STEP:
            lane = (REPLAY_PID, COMPUTE_TID)
            yield _span(lane, step.name, starts[t], ends[t] - starts[t], {"step": t})
    table = resources(plan.problem)
    begun, ended = replay.transfer_start_s.tolist(), replay.transfer_end_s.tolist()
    for index, transfer in enumerate(plan.transfers):
        lane = (REPLAY_PID, FIRST_LINK_TID + table.link_of(transfer))
        details = {"transfer": index, "bytes": transfer.end_byte - transfer.start_byte}
        seconds = ended[index] - begun[index]
        yield _span(lane, _title(plan, transfer), begun[index], seconds, details)


def live_bytes(plan: Plan) -> dict[str, list[int]]:
    """By tier, (T + 1,) bytes that residencies hold at each step; workspace is not counted."""
    steps = len(plan.problem.steps)
    changes = {tier.name: np.zeros(steps + 2, dtype=np.int64) for tier in plan.target.tiers}
    for r in plan.residencies:
        changes[r.tier][r.start] += r.end_byte - r.start_byte
        changes[r.tier][r.end] -= r.end_byte - r.start_byte
    return {name: np.cumsum(change)[: steps + 1].tolist() for name, change in changes.items()}


def _title(plan: Plan, transfer: Transfer) -> str:
    buffer = plan.problem.buffers[transfer.buffer]
    if (transfer.start_byte, transfer.end_byte) == (0, buffer.size_bytes):
        return buffer.name
    return f"{buffer.name} [{transfer.start_byte}, {transfer.end_byte})"


def _meta(pid: int, tid: int, name: str, args: dict[str, Any]) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "args": args}


def _span(
    lane: tuple[int, int], name: str, begin_s: float, seconds: float, args: dict[str, Any]
) -> Event:
    """A complete event, from begin to end; `lane` is (process, thread)."""
    return {
        "ph": "X",
        "pid": lane[0],
        "tid": lane[1],
        "name": name,
        "ts": begin_s * _MICROSECONDS,
        "dur": seconds * _MICROSECONDS,
        "args": args,
    }


def _counter(name: str, at_s: float, args: dict[str, Any]) -> Event:
    return {
        "ph": "C",
        "pid": MODEL_PID,
        "tid": 0,
        "name": name,
        "ts": at_s * _MICROSECONDS,
        "args": args,
    }
