"""The entry point: commands, exit codes, and errors in the form that people or programs read."""

import gc
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.analyze import analyze_command
from ullage.cli.bench import bench_command
from ullage.cli.check import check_command
from ullage.cli.compare import compare_command
from ullage.cli.compile import KEPT_BEST, compile_command
from ullage.cli.diff import diff_command
from ullage.cli.interrupts import INTERRUPTED, NOTHING_YET, raise_again
from ullage.cli.models import app as models_app
from ullage.cli.pack import pack_command
from ullage.cli.report import report_command
from ullage.cli.run import run_command
from ullage.cli.solvers import app as solvers_app
from ullage.cli.streams import guard_streams, lost_output, say
from ullage.cli.sweep import sweep_command
from ullage.cli.targets import app as targets_app
from ullage.cli.train import train_command
from ullage.cli.verify import verify_command
from ullage.cli.warm_up import warm_up_command
from ullage.compiler.common.errors import UllageError

# Exit code of an error that is a defect of ullage, or for want of memory; EX_SOFTWARE of sysexits.
INTERNAL_ERROR = 70
# Exit code where the work is done and its output cannot be written; EX_IOERR of sysexits.
OUTPUT_LOST = 74
# When Python's collector looks for cycles (`gc.set_threshold`). Artefacts of large programs are
# millions of objects without cycles, and at its defaults it takes a quarter of the time to look
# through them again and again.
COLLECT_AFTER = (200_000, 20, 100)

app = typer.Typer(
    name="ullage",
    help="Memory compiler and scheduler for ML accelerators.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ullage {version('ullage')}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def ullage_command(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Memory compiler and scheduler for ML accelerators."""
    del version  # its callback has answered


app.command("compile")(compile_command)
app.command("analyze")(analyze_command)
app.command("compare")(compare_command)
app.command("sweep")(sweep_command)
app.command("verify")(verify_command)
app.command("check")(check_command)
app.command("run")(run_command)
app.command("diff")(diff_command)
app.command("pack")(pack_command)
app.command("train")(train_command)
app.command("bench")(bench_command)
app.command("report")(report_command)
app.command("warm-up")(warm_up_command)
app.add_typer(targets_app, name="targets")
app.add_typer(solvers_app, name="solvers")
app.add_typer(models_app, name="models")


def main(arguments: Sequence[str] | None = None, *, begun: float | None = None) -> None:
    """Run the command line and exit with the documented code.

    Args:
        arguments: of the command line; None: those of the process.
        begun: `time.monotonic()` value from which `--time-limit` counts; None: reading the model.
    """
    gc.set_threshold(*COLLECT_AFTER)
    stdout = guard_streams()
    options.BEGUN.set(begun)
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    lost = lost_output(stdout)
    if lost:
        say(f"ullage: {lost}", err=True)
        code = code or OUTPUT_LOST
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code instead of exiting.

    No exception leaves it but `SystemExit`: one that nobody foresaw is a defect, and is reported as
    one. `ULLAGE_TRACEBACK=1` prints the traceback too.
    """
    as_json = "--json" in arguments
    try:
        raise_again()
        command = typer.main.get_command(app)
        code = command.main(args=arguments, prog_name="ullage", standalone_mode=False)
    except UllageError as error:
        _report(error.kind, error.message, error.details, as_json=as_json)
        return error.exit_code
    except typer.TyperException as error:
        message = error.format_message()
        if message:  # where a command was called with nothing, typer has printed its help
            _report("usage", message, {}, as_json=as_json)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return 0
    except MemoryError:
        message = "out of memory; plan a smaller model, or on a larger machine"
        _report("memory", message, {}, as_json=as_json)
        return INTERNAL_ERROR
    except Exception as error:  # noqa: BLE001 - the last guard: a traceback helps no user
        _report("internal", *_defect(error), as_json=as_json)
        return INTERNAL_ERROR
    if code == KEPT_BEST:
        return INTERRUPTED
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code and says nothing
        _report("interrupted", NOTHING_YET, {}, as_json=as_json)
    return code if isinstance(code, int) else 0


def _defect(error: Exception) -> tuple[str, dict[str, Any]]:
    """Message and details for an exception that should not have come here."""
    import os
    import traceback

    if os.environ.get("ULLAGE_TRACEBACK"):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent != Path(typer.__file__).parent]
    last = (own or frames)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}, in {last.name}"
    what = f"{type(error).__name__}: {error}"[:300]
    message = (
        f"internal error: {what} ({place}). This is a defect of ullage, not of your input; please "
        "report it with the command line. ULLAGE_TRACEBACK=1 shows where it comes from"
    )
    return message, {"type": type(error).__name__, "text": str(error)[:1000], "place": place}


def _report(kind: str, message: str, details: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"kind": kind, "message": message, "details": details}}
        sys.stdout.write(json.dumps(_finite(document), indent=2, default=str) + "\n")
    else:
        say(f"ullage: {message}", err=True, lines=True)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON document
    """A document without NaN and infinities, which JSON has no words for: they become texts."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
