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
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any
from warnings import catch_warnings, filterwarnings

from ullage.compiler.common.errors import UllageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.contract import broken, check_solution, plain_solution
from ullage.solvers.interface import Solution, Solver, solution_of
from ullage.solvers.messages import Inbox, Message, MessageKind, packed, send, unpacked

# What a solver did that did not answer in time.
NOT_BACK = "it was not back when its time was over, and was ended"
# Seconds after the deadline within which the solver must be back.
GRACE_S = 0.15
# Seconds after Ctrl-C within which it may hand over its best plan.
INTERRUPT_S = 2.0
# Seconds between two looks at the time.
POLL_S = 0.05
# Seconds between two looks of the solver's process at whether ours is still there.
ORPHAN_S = 0.5


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
    inbox = Inbox(ours)
    try:
        return _watch(solver, process, inbox, budget)
    except KeyboardInterrupt:
        with suppress(OSError):
            os.kill(process.pid or 0, signal.SIGINT)
        left = Budget(time.monotonic() + INTERRUPT_S)
        return _watch(solver, process, inbox, left, interrupted=True)
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
    inbox: Inbox,
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
            raise broken(solver, NOT_BACK)
        was_there = process.is_alive()
        try:
            data = inbox.take(min(POLL_S, left_s) if was_there else 0.0)
            ended = data is None and inbox.is_idle and not was_there
        except (EOFError, OSError):
            data, ended = None, True
        if ended:
            if interrupted:
                raise KeyboardInterrupt
            raise broken(solver, "its process ended without an answer (it crashed)")
        if data is None:
            continue
        message = _unpickled(solver, data)
        if message.kind == "progress":
            budget.progress(str(message.content))
        elif message.kind == "improved":
            value = message.content
            if not isinstance(value, float) or not math.isfinite(value):
                raise broken(solver, f"it reported an improvement to {value!r:.60}")
            budget.on_improvement(value)
        elif message.kind == "error":
            raise _revived(solver, message.content)
        elif message.kind == "breach":
            if interrupted and message.content == "it raised KeyboardInterrupt":
                raise KeyboardInterrupt
            raise broken(solver, message.content)
        else:
            return message.content


def _unpickled(solver: Solver, data: bytes) -> Message:
    """A message of the solver's process."""
    try:
        return unpacked(data)
    except Exception as error:
        raise broken(solver, f"its answer cannot be read: {error!r}"[:300]) from error


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
        try:
            return "error", json.loads(json.dumps(error.to_json(), allow_nan=False))
        except Exception as failure:  # noqa: BLE001 - its details may be anything
            return "breach", f"it raised an error that cannot be read: {failure!r}"
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

    def tell(kind: MessageKind, content: object) -> None:
        data = packed(Message(kind, content))
        with lock:
            send(pipe, data)

    budget = Budget(
        deadline,
        progress=lambda text: tell("progress", str(text)),
        on_improvement=lambda value: tell("improved", float(value)),
    )
    try:
        answer = solver.solve(problem, options, budget)
        answer = solution_of(answer) if isinstance(answer, Plan) else answer
        if isinstance(answer, Solution):  # numbers and texts of classes of its own stay behind
            answer = plain_solution(solver, check_solution(solver, problem, answer))
    except BaseException as error:  # noqa: BLE001 - whatever it is, its process reports it
        try:
            tell(*_report_of(error))
        except Exception:  # noqa: BLE001 - texts of its errors are its own code
            tell("breach", f"it raised {type(error).__name__}")
    else:
        try:
            tell("answer", answer)
        except Exception as error:  # noqa: BLE001 - what cannot be pickled is no solution
            kind = type(answer).__name__
            tell("breach", f"it returned a {kind} that cannot be handed over: {error!r}"[:300])
    with suppress(OSError):
        pipe.close()
    os._exit(0)
