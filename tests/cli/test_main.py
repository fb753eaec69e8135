"""The command line as a whole: help, lists, wrong words, start-up."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.cli import Json
from ullage.cli.main import main


def test_lists_and_details_of_targets_solvers_and_models(
    ask: Json, say: Callable[..., tuple[str, str]]
) -> None:
    targets = ask("targets", "list")
    assert targets["default"] in [each["name"] for each in targets["targets"]]
    assert ask("targets", "show", "cosma")["name"] == "cosma"
    solvers = {each["name"]: each for each in ask("solvers", "list")["solvers"]}
    assert {"all-slow", "greedy", "msa", "auto", "no-spill"} <= set(solvers)
    assert "max_repacks" in solvers["msa"]["parameters"]
    assert "peak" in solvers["auto"]["objectives"]
    assert ask("solvers", "show", "msa")["name"] == "msa"
    models = {each["name"]: each["path"] for each in ask("models", "list")["models"]}
    assert len(models) == 9
    assert Path(models["squeezenet"]).is_file()
    shown = ask("models", "show", "squeezenet")
    assert shown["path"] == models["squeezenet"]
    assert shown["operators"] > 20
    for arguments, word in (
        (("targets", "list"), "edge-npu"),
        (("targets", "show", "cosma"), "sram"),
        (("solvers", "list"), "greedy"),
        (("solvers", "show", "msa"), "max_repacks"),
        (("models", "list"), "squeezenet"),
        (("models", "show", "squeezenet"), "operators"),
    ):
        assert word in say(*arguments)[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], "--bogus"),
        (["--fast-memory", "1 parsec"], "parsec"),
        (["--fast-memory=-4"], "negative"),
        (["--target", "abacus"], "abacus"),
        (["--target", "missing/target.yaml"], "target.yaml"),
        (["--solver", "oracle"], "no solver named 'oracle'"),
        (["--objective", "beauty"], "unknown objective 'beauty'"),
        (["--objective", "peak", "--solver", "greedy"], "cannot minimise peak"),
        (["--order", "random"], "unknown order 'random'"),
        (["--dim", "n"], "--dim takes NAME=VALUE"),
        (["--dim", "n=0"], "at least 1"),
        (["--dim", "n=many"], "'many'"),
        (["--dim", "n=1", "--dim", "n=2"], "given twice"),
        (["--batch", "0"], "--batch"),
        (["--batch", "x"], "valid integer"),
        (["--set", "color=red"], "no field 'color'"),
        (["--set", "split_operands=maybe"], "true or false"),
        (
            ["--batch", "1", "--param", "depth=3", "--solver", "msa"],
            "msa has no parameter 'depth'",
        ),
        (["--dtype", "int7"], "int7"),
        (["--emit", "poem"], "nothing emits 'poem'"),
        (["--time-limit=-1"], "--time-limit"),
    ],
)
def test_wrong_options_are_usage_errors(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    tiny: Path,
    arguments: list[str],
    words: str,
) -> None:
    given = ["compile", tiny, *arguments]
    error = ask(*given, code=2)["error"]
    assert set(error) == {"kind", "message", "details"}
    assert error["kind"] == "usage"
    assert words in error["message"]
    out, err = say(*given, code=2)
    assert out == ""
    assert err.startswith("ullage: ")


@pytest.mark.parametrize("arguments", [["fly"], ["compile"], ["verify"], ["targets", "fly"]])
def test_wrong_commands_are_usage_errors(ask: Json, arguments: list[str]) -> None:
    assert ask(*arguments, code=2)["error"]["kind"] == "usage"


def test_models_that_cannot_be_read_exit_with_3(ask: Json, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07not a model")
    for model in ("no-such-model", tmp_path, tmp_path / "bad.onnx"):
        for command in ("compile", "analyze", "compare"):
            error = ask(command, model, code=3)["error"]
            assert error["kind"] == "model"
            assert str(model) in error["message"]


def test_help_of_every_command(say: Callable[..., tuple[str, str]]) -> None:
    commands = (
        "compile",
        "analyze",
        "compare",
        "verify",
        "pack",
        "targets",
        "solvers",
        "models",
        "warm-up",
    )
    out, _ = say("--help")
    assert all(command in out for command in commands)
    assert "--install-completion" in out
    for command in commands:
        assert "Usage: ullage " + command in say(command, "--help")[0]
        assert say(command, "-h")[0]
    with pytest.raises(SystemExit) as left:
        main(["compile", "--help"])
    assert left.value.code == 0


def test_version_is_that_of_the_package(say: Callable[..., tuple[str, str]]) -> None:
    assert say("--version") == (f"ullage {version('ullage')}\n", "")


@pytest.mark.parametrize("arguments", [[], ["solvers"], ["targets"], ["models"]])
def test_a_command_called_with_nothing_prints_its_help_and_no_more(
    say: Callable[..., tuple[str, str]], arguments: list[str]
) -> None:
    out, err = say(*arguments, code=2)
    assert " ".join(["Usage: ullage", *arguments]) in out
    assert err == ""


def test_start_up_imports_nothing_heavy() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import ullage.cli.main"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines()}
    assert "ullage.cli.main" in loaded
    heavy = "numpy onnx pydantic numba ortools onnxruntime omnimalloc yaml networkx gymnasium"
    assert not loaded & set(heavy.split())


def test_help_imports_neither_networkx_nor_gymnasium() -> None:
    """Of the commands too: their functions import what they need."""
    script = (
        "import sys\n"
        "from ullage.cli.main import run\n"
        "run([*sys.argv[1:], '--help'])\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    for command in ([], ["analyze"], ["compile"], ["train"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
        )
        assert "Usage: ullage" in done.stdout
        assert not {"networkx", "gymnasium", "numpy"} & set(done.stderr.split())


@pytest.mark.parametrize(("command", "code"), [("verify", 2), ("compile", 3)])
def test_devices_are_refused_as_what_they_are(ask: Json, command: str, code: int) -> None:
    error = ask(command, os.devnull, code=code)["error"]
    assert "is a character device" in error["message"]
