"""The house rules that no linter knows: packages, sizes of rooms, signatures."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cli", "compiler", "hwmodels", "rl_agent", "solvers")
MOST_MODULES = 15
MOST_PARAMETERS = 10


def packages() -> dict[str, Path]:
    """Dotted name -> folder of every folder with an `__init__.py`."""
    found = {}
    for room in ROOMS:
        for marker in sorted((ROOT / room).rglob("__init__.py")):
            folder = marker.parent
            found[".".join(("ullage", *folder.relative_to(ROOT).parts))] = folder
    return found


def modules() -> Iterator[tuple[str, ast.Module]]:
    """(dotted name, tree) of every module."""
    for name, folder in packages().items():
        for file in sorted(folder.glob("*.py")):
            yield f"{name}.{file.stem}", ast.parse(file.read_text(encoding="utf-8"))


def functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """(name, with those of its classes and functions before it, node) of every function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield above + node.name, node
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from functions(node, f"{above}{node.name}.")
        elif not isinstance(node, ast.expr):
            yield from functions(node, above)


def test_every_package_is_installed_and_has_a_marker() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    listed = settings["setuptools"]["packages"]
    assert sorted(listed) == listed
    data_only = {"ullage.hwmodels.targets"}  # target files
    assert set(listed) - data_only == set(packages()) - data_only
    for name in listed:
        assert (ROOT / Path(*name.split(".")[1:])).is_dir(), name
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), file


@pytest.mark.parametrize("name", packages())
def test_no_room_has_more_modules_than_can_be_overlooked(name: str) -> None:
    if name == "ullage.cli":
        return  # one module for each command
    files = [file.name for file in packages()[name].glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= MOST_MODULES, files


def is_command(node: ast.FunctionDef) -> bool:
    """Whether typer calls it: its parameters are options of the command line."""
    return node.name.endswith("_command")


def test_no_function_has_more_parameters_than_can_be_told_apart() -> None:
    found = {}
    for module, tree in modules():
        for name, node in functions(tree):
            given = node.args
            count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            count += bool(given.vararg) + bool(given.kwarg)
            count -= bool(given.args) and given.args[0].arg in ("self", "cls")
            if count > MOST_PARAMETERS and not (
                module.startswith("ullage.cli") and is_command(node)
            ):
                found[f"{module}.{name}"] = count
    assert found == {}


# Loose mappings: what a JSON document holds, no typed class can say; all else can.

LOOSE = ("Mapping[str, Any]", "dict[str, Any]")
DOCUMENTS = {
    "compiler.bench.run.failed": "a row of `bench --json`",
    "compiler.bench.table.summary_rows": "rows of `bench --json`",
    "compiler.common.errors.UllageError.revive": "an error document",
    "compiler.common.errors.UllageError.to_json": "an error document",
    "compiler.common.json_files.json_object": "any JSON document",
    "compiler.common.json_files.object_at": "any JSON document",
    "compiler.common.json_files.published": "any JSON document",
    "compiler.common.json_files.schema_of": "a JSON Schema",
    "compiler.driver.cascades.cascades_detail": "rows that `compile --json` prints",
    "compiler.driver.operators.operators_detail": "`operators_detail` of `compile --json`",
    "compiler.driver.summary.summarise": "what `compile --json` prints",
    "compiler.driver.summary.summary_rows": "what `compile --json` prints",
    "compiler.families.files.length_rows": "rows of `compile --family --json`",
    "compiler.importer.scope.attributes": "attributes of an ONNX node, of any type",
    "compiler.ir.schedule.Schedule.to_json": "a schedule's document",
    "compiler.lowering.orders.planned_order": "`model` of a plan file",
    "compiler.lowering.orders.planned_schedule": "`model` of a plan file",
    "compiler.report.data.report_data": "the data in the page",
    "compiler.report.page.render_page": "the data in the page",
    "compiler.studies.analyze.analyse": "what `analyze --json` prints",
    "compiler.studies.compare.compare_solvers": "rows that `compare --json` prints",
    "compiler.studies.diff.diff_plans": "what `diff --json` prints",
    "compiler.studies.sweep_lengths.describe_lengths": "what `sweep --json` prints of lengths",
    "compiler.studies.sweep.describe_sweep": "what `sweep --json` prints",
    "rl_agent.policy.network.network_of": "arrays of a safetensors file, of any type",
    "rl_agent.policy.network.read_arrays": "arrays of a safetensors file, and its JSON header",
    "rl_agent.policy.network.write_arrays": "arrays of a safetensors file, and its JSON header",
    "solvers.lp.cp_sat.run": "fields of CP-SAT's own parameter message, by their names there",
}


def names_used_elsewhere() -> set[str]:
    """Modules, and names as `module.name`, that a module of another package imports."""
    rooms = packages()
    found = set()
    for module, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("ullage"):
                continue
            source = str(node.module)
            owner = source if source in rooms else source.rpartition(".")[0]
            if owner != module.rpartition(".")[0]:
                found |= {f"{source}.{alias.name}" for alias in node.names}
    return found


def loose_signatures() -> set[str]:
    """Public functions that other packages import and whose signature has a loose mapping."""
    used = names_used_elsewhere()
    found = set()
    for module, tree in modules():
        for name, node in functions(tree):
            first = name.split(".")[0]
            public = not any(part.startswith("_") for part in name.split("."))
            seen = f"{module}.{first}" in used or module in used
            if not public or not seen:
                continue
            given = node.args
            notes = [a.annotation for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            texts = [ast.unparse(note) for note in (*notes, node.returns) if note is not None]
            if any(loose in text for text in texts for loose in LOOSE):
                found.add(f"{module}.{name}")
    return found


def test_loose_mappings_between_packages_are_json_documents() -> None:
    assert loose_signatures() == {f"ullage.{name}" for name in DOCUMENTS}
