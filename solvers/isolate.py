"""A third party's solver in a process of its own, with a watch on its time.

The process is a copy of this one (fork) on Linux, a fresh one elsewhere. It costs some 30 ms there
and the time to pickle problem and plan; a fresh one also the imports (about a second). What the
solver prints goes to standard error. It is ended when it is not back `GRACE_S` after its deadline.
"""

import multiprocessing
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
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
    process = context.Process(target=_work, args=arguments, daemon=True)  # type: ignore[attr-defined]
    with catch_warnings():
        # JAX, where it is loaded, warns of forks; the copy has no use for its threads.
        filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        process.start()
    theirs.close()
    try:
        return _watch(solver, ours, budget)
    except KeyboardInterrupt:  # the solver has got it too
        return _watch(solver, ours, Budget(time.monotonic() + INTERRUPT_S), interrupted=True)
    finally:
        process.kill()
        process.join()
        ours.close()


def _watch(
    solver: Solver, pipe: Connection, budget: Budget, *, interrupted: bool = False
) -> object:
    """Pass on the solver's progress until it answers or its time is over."""
    while True:
        left_s = budget.remaining_s() + GRACE_S
        if left_s <= 0:
            if interrupted:
                raise KeyboardInterrupt
            raise broken(solver, "it was not back when its time was over, and was ended")
        if not pipe.poll(min(POLL_S, left_s)):
            continue
        try:
            message: _Message = pipe.recv()
        except EOFError:
            if interrupted:
                raise KeyboardInterrupt from None
            raise broken(solver, "its process ended without an answer (it crashed)") from None
        if message.kind == "progress":
            budget.progress(str(message.content))
        elif message.kind == "improved":
            budget.on_improvement(float(message.content))
        elif message.kind == "error":
            raise UllageError.revive(message.content)
        elif message.kind == "breach":
            if interrupted and message.content == "it raised KeyboardInterrupt":
                raise KeyboardInterrupt
            raise broken(solver, message.content)
        else:
            return message.content


def _work(
    solver: Solver, problem: Problem, options: object, deadline: float | None, pipe: Connection
) -> None:
    """The solver's process: run the solver, send its answer or error."""
    os.dup2(2, 1)
    sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="replace")

    def send(kind: MessageKind, content: object) -> None:
        pipe.send(_Message(kind, content))

    budget = Budget(
        deadline,
        progress=lambda text: send("progress", str(text)),
        on_improvement=lambda value: send("improved", float(value)),
    )
    try:
        answer = solver.solve(problem, options, budget)
        answer = solution_of(answer) if isinstance(answer, Plan) else answer
    except UllageError as error:
        send("error", error.to_json())
    except RecursionError:
        send("breach", "it recursed too deeply (RecursionError)")
    except SystemExit as error:
        send("breach", f"it tried to exit the program (code {error.code!r})")
    except KeyboardInterrupt:
        send("breach", "it raised KeyboardInterrupt")
    except BaseException as error:  # noqa: BLE001 - whatever it is, its process reports it
        send("breach", f"it raised {type(error).__name__}: {str(error)[:300]}")
    else:
        try:
            send("answer", answer)
        except Exception as error:  # noqa: BLE001 - what cannot be pickled is no solution
            kind = type(answer).__name__
            send("breach", f"it returned a {kind} that cannot be handed over: {error!r}"[:300])
    with suppress(OSError):
        pipe.close()
    os._exit(0)
