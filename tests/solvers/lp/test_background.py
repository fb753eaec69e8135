"""Solvers beside the main thread: answers in order, errors raised again, Ctrl-C heard at once."""

import subprocess
import sys
import threading

import pytest

from ullage.solvers.lp.background import run_beside


def test_answers_come_in_the_order_of_the_calls() -> None:
    second = threading.Event()

    def first_waits() -> int:
        assert second.wait(30)
        return 1

    def second_goes_on() -> int:
        second.set()
        return 2

    assert run_beside([first_waits, second_goes_on]) == [1, 2]
    assert run_beside([]) == []


def test_errors_are_raised_again() -> None:
    def fails() -> int:
        raise ValueError("no optimum")

    with pytest.raises(ValueError, match="no optimum"):
        run_beside([lambda: 1, fails])


PROGRAM = """
import os, signal, threading, time
from ullage.solvers.lp.background import run_beside
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where Ctrl-C is ignored
stopped = []
def sleeps():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(600)
try:
    run_beside([sleeps], lambda: stopped.append(True))
except KeyboardInterrupt:
    print("heard", stopped)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_heard_while_a_solver_is_deaf() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "heard [True]\n"
