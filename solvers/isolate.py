"""A third party's solver in a process of its own, with a watch on its time.

The process is a copy of this one (fork) on Linux, a fresh one elsewhere. It costs some 30 ms there
and the time to pickle problem and plan; a fresh one also the imports (about a second). What the
solver prints goes to standard error. It is ended when it is not back `GRACE_S` after its deadline,
with all processes that it began, and leaves by itself when this process is gone.
"""

import json
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal
from warnings import catch_warnings, filterwarnings

from ullage.compiler.common.errors import UllageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.contract import broken
from ullage.solvers.interface import Solver, solution_of

# Seconds after the deadline within which the solver must be back.
GRACE_S = 0.15
# Seconds after Ctrl-C within which it may hand over its best plan.
INTERRUPT_S = 2.0
# Seconds between two looks at the time.
POLL_S = 0.05
# Seconds between two looks of the solver's process at whether ours is still there.
ORPHAN_S = 0.5

MessageKind = Literal["progress", "improved", "answer", "error", "breach"]


@dataclass(frozen=True)
class _Message:
    """A message from the solver's process: its kind and its content."""

    kind: MessageKind
    content: Any = None


def solve_apart(solver: Solver, problem: Problem, options: object, budget: Budget) -> object:
    """Run a solver in a process of its own.

    Returns:
        Its return value; a plan is turned into a solution.

    Raises:
        UllageError: the solver raised it.
        ContractError: it raised anything else, left, crashed, or did not come back in time.
        KeyboardInterrupt: interrupted, and the solver had nothing to hand over.
    """
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    arguments = (solver, problem, options, budget.deadline, theirs)
    process = context.Process(target=_work, args=arguments)  # type: ignore[attr-defined]
    with catch_warnings():
        # JAX, where it is loaded, warns of forks; the copy has no use for its threads.
        filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        process.start()
    theirs.close()
    try:
        return _watch(solver, process, ours, budget)
    except KeyboardInterrupt:
        with suppress(OSError):
            os.kill(process.pid or 0, signal.SIGINT)
        left = Budget(time.monotonic() + INTERRUPT_S)
        return _watch(solver, process, ours, left, interrupted=True)
    finally:
        _end(process)
        ours.close()


def _end(process: BaseProcess) -> None:
    """Kill the solver's process and all in its group."""
    if hasattr(os, "killpg"):
        with suppress(OSError):  # it has left, or has no group of its own yet
            os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()


def _watch(
    solver: Solver,
    process: BaseProcess,
    pipe: Connection,
    budget: Budget,
    *,
    interrupted: bool = False,
) -> object:
    """Pass on the solver's progress until it answers or its time is over."""
    while True:
        left_s = budget.remaining_s() + GRACE_S
        if left_s <= 0:
            if interrupted:
                raise KeyboardInterrupt
            raise broken(solver, "it was not back when its time was over, and was ended")
        was_there = process.is_alive()
        if not pipe.poll(min(POLL_S, left_s)) and was_there:
            continue
        try:
            data = pipe.recv_bytes() if was_there or pipe.poll() else b""
        except EOFError:
            data = b""
        if not data:
            if interrupted:
                raise KeyboardInterrupt
            raise broken(solver, "its process ended without an answer (it crashed)")
        message = _unpickled(solver, data)
        if message.kind == "progress":
            budget.progress(str(message.content))
        elif message.kind == "improved":
            if not math.isfinite(message.content):
                raise broken(solver, f"it reported an improvement to {message.content}")
            budget.on_improvement(message.content)
        elif message.kind == "error":
            raise _revived(solver, message.content)
        elif message.kind == "breach":
            if interrupted and message.content == "it raised KeyboardInterrupt":
                raise KeyboardInterrupt
            raise broken(solver, message.content)
        else:
            return message.content


def _unpickled(solver: Solver, data: bytes) -> _Message:
    """A message of the solver's process; unpickling runs code of the solver's classes."""
    try:
        with redirect_stdout(sys.stderr):
            message = pickle.loads(data)  # noqa: S301 - of a solver that the user has installed
    except (Exception, SystemExit) as error:
        raise broken(solver, f"its answer cannot be read: {error!r}"[:300]) from error
    assert isinstance(message, _Message)  # noqa: S101 - `_work` sends nothing else
    return message


def _revived(solver: Solver, document: Any) -> UllageError:  # noqa: ANN401 - JSON
    """The error that the solver raised."""
    try:
        revived = UllageError.revive(document)
        json.dumps(revived.to_json(), allow_nan=False)
    except Exception as error:
        raise broken(solver, f"it raised an error that cannot be read: {error!r}") from error
    return revived


def _report_of(error: BaseException) -> tuple[MessageKind, object]:
    """The message about what a solver raised."""
    if isinstance(error, UllageError):
        return "error", error.to_json()
    if isinstance(error, RecursionError):
        return "breach", "it recursed too deeply (RecursionError)"
    if isinstance(error, SystemExit):
        return "breach", f"it tried to exit the program (code {error.code!r})"
    if isinstance(error, KeyboardInterrupt):
        return "breach", "it raised KeyboardInterrupt"
    return "breach", f"it raised {type(error).__name__}: {str(error)[:300]}"


def _leave_when_alone() -> None:
    """End this process when the one that began it is gone."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(ORPHAN_S)
    os._exit(1)


def _work(
    solver: Solver, problem: Problem, options: object, deadline: float | None, pipe: Connection
) -> None:
    """The solver's process: run the solver, send its answer or error."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    threading.Thread(target=_leave_when_alone, daemon=True).start()
    os.dup2(2, 1)
    sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="replace")

    lock = threading.Lock()  # solvers may have threads

    def send(kind: MessageKind, content: object) -> None:
        data = pickle.dumps(_Message(kind, content))
        with lock:
            pipe.send_bytes(data)

    budget = Budget(
        deadline,
        progress=lambda text: send("progress", str(text)),
        on_improvement=lambda value: send("improved", float(value)),
    )
    try:
        answer = solver.solve(problem, options, budget)
        answer = solution_of(answer) if isinstance(answer, Plan) else answer
    except BaseException as error:  # noqa: BLE001 - whatever it is, its process reports it
        try:
            send(*_report_of(error))
        except Exception:  # noqa: BLE001 - texts of its errors are its own code
            send("breach", f"it raised {type(error).__name__}")
    else:
        try:
            send("answer", answer)
        except Exception as error:  # noqa: BLE001 - what cannot be pickled is no solution
            kind = type(answer).__name__
            send("breach", f"it returned a {kind} that cannot be handed over: {error!r}"[:300])
    with suppress(OSError):
        pipe.close()
    os._exit(0)
