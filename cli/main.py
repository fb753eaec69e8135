"""The entry point: commands, exit codes, and errors in the form that people or programs read."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ullage.cli.analyze import analyze_command
from ullage.cli.compare import compare_command
from ullage.cli.compile import KEPT_BEST, compile_command
from ullage.cli.models import app as models_app
from ullage.cli.pack import pack_command
from ullage.cli.report import report_command
from ullage.cli.run import run_command
from ullage.cli.solvers import app as solvers_app
from ullage.cli.sweep import sweep_command
from ullage.cli.targets import app as targets_app
from ullage.cli.train import train_command
from ullage.cli.verify import verify_command
from ullage.cli.warm_up import warm_up_command
from ullage.compiler.common.errors import UllageError

# Exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130
# Exit code of an error that is a defect of ullage.
INTERNAL_ERROR = 1

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
app.command("run")(run_command)
app.command("pack")(pack_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.command("warm-up")(warm_up_command)
app.add_typer(targets_app, name="targets")
app.add_typer(solvers_app, name="solvers")
app.add_typer(models_app, name="models")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code instead of exiting."""
    as_json = "--json" in arguments
    try:
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
    if code == KEPT_BEST:
        return INTERRUPTED
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code and says nothing
        _report("interrupted", "interrupted before any plan was found", {}, as_json=as_json)
    return code if isinstance(code, int) else 0


def _report(kind: str, message: str, details: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"kind": kind, "message": message, "details": details}}
        sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
    else:
        sys.stderr.write(f"ullage: {message}\n")
