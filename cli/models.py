"""`ullage models`: models that have a name."""

import typer

from ullage.cli import options
from ullage.cli.streams import say

# What `run` can prove with these models.
CONSTANT_WEIGHTS = (
    "real graphs whose weights are all one number: sizes, times and plans are right, but outputs "
    "of `ullage run` hardly depend on the input; use a trained model for that"
)

app = typer.Typer(help="List models that have a name.", no_args_is_help=True)


@app.command("list")
def list_command(as_json: options.Json = False) -> None:
    """List the models that come with the onnx package."""
    from ullage.cli.render import print_json, print_table
    from ullage.compiler.importer.model_zoo import named_models

    paths = named_models()
    if as_json:
        print_json({"models": [{"name": n, "path": str(p)} for n, p in paths.items()]})
        return
    rows = [[name, path.name] for name, path in paths.items()]
    print_table("Models", [("Model", "left"), ("File", "left")], rows)
    for folder in dict.fromkeys(str(path.parent) for path in paths.values()):
        say(f"in {folder}")
    say(CONSTANT_WEIGHTS)


@app.command("show")
def show_command(name: str, as_json: options.Json = False) -> None:
    """Show where a model is and what it is made of."""
    from ullage.cli.render import print_json
    from ullage.compiler.importer.build import import_model
    from ullage.compiler.importer.model_zoo import find_model

    path = find_model(name)
    graph = import_model(path)
    kinds = [value.kind for value in graph.values.values()]
    document = {
        "name": graph.name,
        "path": str(path),
        "operators": len(graph.operators),
        "weights": kinds.count("weight"),
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }
    if as_json:
        print_json(document)
    else:
        before = {"operators": " (in the file; compiling fuses some of them)"}
        for key, value in document.items():
            shown = ", ".join(value) if isinstance(value, list) else value
            say(f"{key}: {shown}{before.get(key, '')}")
