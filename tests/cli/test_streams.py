"""What reaches the terminal: hostile names, closed and full streams, defects without traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.cli import Json
from ullage.cli import main as entry
from ullage.cli.streams import console, say, visible_lines
from ullage.compiler.common.visible import visible

# A title for the window, a bell, a C1 introducer, a right-to-left override, a line break, markup.
HOSTILE = "a\x1b]0;owned\x07\x9b31m\u202egpj.\u2066\n[red]ullage: done"
SHOWN = r"a\x1b]0;owned\x07\x9b31m\u202egpj.\u2066\n[red]ullage: done"


def test_control_and_format_characters_are_escapes() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible(SHOWN) == SHOWN
    assert visible("Größe 大 👩‍🔬 [bold]") == "Größe 大 👩‍🔬 [bold]"
    assert visible("\ud800 \u2028 \u200f \t") == r"\ud800 \u2028 \u200f \t"


def test_a_line_break_in_a_name_forges_no_line() -> None:
    assert visible_lines("faults:\n  one\nullage: done\x1b") == (
        "faults:\n  one\n  ullage: done\\x1b"
    )


def test_lines_and_tables_are_made_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    say(HOSTILE)
    table = Table()
    table.add_column("b\x07")
    table.add_row(Text("c\u202e"))
    console().print(table)
    console().print("[red]plain[/red] \x9b")
    printed = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\u202e") & set(printed)
    assert SHOWN in printed
    assert r"[red]plain[/red] \x9b" in printed


@pytest.fixture
def hostile_model(tmp_path: Path) -> Path:
    nodes = [helper.make_node("Relu", ["x"], [HOSTILE], name=HOSTILE)]
    nodes.append(helper.make_node("Unheard", [HOSTILE], ["y"], name=f"{HOSTILE}2", domain="own"))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [64]) for n in ("x", "y"))
    graph = helper.make_graph(nodes, HOSTILE, [x], [y])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path = tmp_path / "hostile.onnx"
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("compile", "--verbose", "--solver", "greedy"),
        ("analyze",),
        ("compare", "--solvers", "greedy,msa"),
        ("sweep", "--fast-memory", "64..1KiB", "--points", "2", "--solver", "greedy"),
    ],
)
def test_names_of_a_model_reach_no_terminal_raw(
    say: Callable[..., tuple[str, str]], hostile_model: Path, command: tuple[str, ...]
) -> None:
    out, err = say(command[0], hostile_model, *command[1:])
    assert not set("\x1b\x07\x9b\u202e\u2066") & set(out + err)
    assert "\n[red]" not in out + err


def test_names_in_errors_are_made_harmless(say: Callable[..., tuple[str, str]]) -> None:
    _, err = say("compile", f"no\x1b[2J\nullage: done{HOSTILE}", code=3)
    assert "\x1b" not in err
    assert "\nullage: done" not in err


def test_a_defect_is_reported_without_a_traceback(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: object) -> None:
        raise KeyError("lost\x1b")

    monkeypatch.setattr("ullage.compiler.ir.plan_json.read_plan", broken)
    error = ask("verify", "plan.json", code=entry.INTERNAL_ERROR)["error"]
    assert error["kind"] == "internal"
    assert error["details"]["type"] == "KeyError"
    out, err = say("verify", "plan.json", code=entry.INTERNAL_ERROR)
    assert out == ""
    assert err.startswith("ullage: internal error: KeyError: 'lost\\x1b' (test_streams.py, line ")
    assert "Traceback" not in err
    monkeypatch.setenv("ULLAGE_TRACEBACK", "1")
    assert "Traceback" in say("verify", "plan.json", code=entry.INTERNAL_ERROR)[1]


def shell(redirection: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a shell, with the exit code of ullage itself."""
    call = f'"$0" -c "from ullage.cli.main import main; main()" "$@" {redirection}; '
    call += "exit ${PIPESTATUS[0]}"
    return subprocess.run(
        ["bash", "-c", call, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )


STREAMS = {
    "closed-stdout": ">&-",
    "closed-stderr": "2>&-",
    "both-closed": ">&- 2>&-",
    "full-stderr": "2>/dev/full",
    "no-reader": "| true",
    "one-line": "| head -1",
}


@pytest.mark.wide(3)
@pytest.mark.parametrize("redirection", STREAMS.values(), ids=STREAMS)
def test_the_exit_code_survives_closed_streams(redirection: str, plan_path: Path) -> None:
    good = shell(redirection, "verify", plan_path)
    assert (good.returncode, good.stderr) == (0, "")
    bad = shell(redirection, "verify", plan_path.with_name("none.json"))
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    assert "Exception ignored" not in bad.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_an_error(plan_path: Path) -> None:
    good = shell("> /dev/full", "verify", plan_path)
    assert good.returncode == entry.OUTPUT_LOST
    assert good.stderr == "ullage: the output cannot be written: No space left on device\n"
    bad = shell("> /dev/full", "verify", plan_path.with_name("none.json"), "--json")
    assert bad.returncode == 2


def test_files_written_with_stdout_closed_are_whole(tiny: Path, tmp_path: Path) -> None:
    """No file may get the number of the closed stream, or prints would land in it."""
    out = tmp_path / "out"
    asked = ("--dim", "n=8", "--solver", "greedy", "-o", out)
    assert shell(">&- <&-", "compile", tiny, *asked).returncode == 0
    assert json.loads((out / "plan.json").read_bytes())["format_version"] == 2
