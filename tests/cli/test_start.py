"""Ctrl-C before the command runs, and after it: in processes of their own."""

import json
import signal
import subprocess
import sys

import pytest

from ullage.cli import interrupts
from ullage.cli.interrupts import INTERRUPTED

# Runs the command after some lines that say when Ctrl-C comes.
PROGRAM = """
import atexit, os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
if {ignored}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if {at_exit}:
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from ullage.cli.start import main
main()
"""


def run(
    *arguments: str, module: str = "", ignored: bool = False, at_exit: bool = False
) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(module=module, ignored=ignored, at_exit=at_exit)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("module", ["typer", "ullage.cli.compare", "ullage.compiler.common.errors"])
def test_ctrl_c_while_modules_are_imported_has_code_and_message(module: str) -> None:
    done = run("targets", "list", module=module)
    assert done.returncode == INTERRUPTED
    assert done.stdout == ""
    assert done.stderr == f"ullage: {interrupts.NOTHING_YET}\n"
    done = run("targets", "list", "--json", module=module)
    assert done.returncode == INTERRUPTED
    assert done.stderr == ""
    error = json.loads(done.stdout)["error"]
    assert error == {"kind": "interrupted", "message": interrupts.NOTHING_YET, "details": {}}


def test_ctrl_c_while_the_command_runs_is_answered_by_it() -> None:
    # `targets list` imports the registry of targets inside the command.
    done = run("targets", "list", "--json", module="ullage.hwmodels.catalog.registry")
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")
    assert json.loads(done.stdout)["error"]["kind"] == "interrupted"


def test_ctrl_c_after_the_work_changes_no_exit_code() -> None:
    for arguments, code in ((["targets", "list"], 0), (["targets", "show", "abacus"], 2)):
        done = run(*arguments, at_exit=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    done = run("targets", "list", module="typer", ignored=True, at_exit=True)
    assert done.returncode == 0
    assert "edge-npu" in done.stdout


def test_a_program_that_calls_the_command_line_keeps_its_own_answer() -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupts.raise_again()
    assert signal.getsignal(signal.SIGINT) is before
