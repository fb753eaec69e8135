"""What the site has beyond the pages in docs/: generated references, and files around docs/.

mkdocs calls the functions `on_*`. Pages of docs/ are plain files for code hosts: they link to
`../README.md` or `../examples/own_compiler.cpp`, and begin lists right below a sentence. Here such
links get a place in the site, and such lists the empty line that Python-Markdown wants.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Files outside docs/ that are pages of the site: place there -> file.
AROUND = {
    "readme.md": ROOT / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "security.md": ROOT / "SECURITY.md",
}
# Sections of the Python reference: title, what it is for, modules.
PYTHON = (
    (
        "Compile",
        "What `ullage compile` does; the names are in `ullage.compiler`, too.",
        "compiler.driver.compile compiler.driver.options compiler.driver.result",
    ),
    (
        "Programs of your own",
        "Problems from lists of operators and tensors, and as files.",
        "compiler.lowering.from_lists compiler.exchange.problem_file "
        "compiler.exchange.solution_file compiler.exchange.check",
    ),
    (
        "Artefacts",
        "What flows from the model to the plan.",
        "compiler.ir.graph compiler.ir.schedule compiler.ir.program compiler.ir.problem "
        "compiler.ir.assignment compiler.ir.plan compiler.ir.plan_json",
    ),
    (
        "Integrations",
        "Other compilers' programs and passes.",
        "compiler.integrations.onnx_ir compiler.integrations.executorch "
        "compiler.integrations.torch_export compiler.integrations.mlir_text "
        "compiler.integrations.xla",
    ),
    ("Files", "Plans for other tools, and the report.", "compiler.emit compiler.report.subject"),
    (
        "Studies",
        "Solvers side by side, curves over sizes, differences of plans.",
        "compiler.studies.compare compiler.studies.sweep compiler.studies.diff",
    ),
    (
        "Hardware",
        "Targets, time and traffic of a plan, lower bounds.",
        "hwmodels.catalog.registry compiler.ir.target hwmodels.cost hwmodels.bounds",
    ),
    (
        "Verifier",
        "Is a plan legal?",
        "compiler.verify.verifier",
    ),
    (
        "Solvers",
        "What a solver is, and how one is run.",
        "solvers.interface solvers.budget solvers.parameters solvers.registry solvers.run "
        "solvers.check",
    ),
    ("The game", "The Gymnasium environment.", "rl_agent.env.game"),
)
# What a page may not load from elsewhere.
_LOADED = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(https?:)?//[^>]*>"""
)
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"^\s*(```|~~~)")
_BLOCK_START = re.compile(r"^(\||[-*] |\d+\. )")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages around docs/, the references, and every file that a page links to."""
    for place, source in AROUND.items():
        files.append(File.generated(config, place, abs_src_path=str(source)))
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    files.append(File.generated(config, "reference/python.md", content=python_page()))
    linked = {
        target
        for source in (*sorted(DOCS.rglob("*.md")), *AROUND.values())
        for target in _linked(source)
    }
    for target in sorted(linked - set(AROUND.values())):
        if target.is_file() and not target.is_relative_to(DOCS):
            files.append(File.generated(config, _place(target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links into the site and with empty lines above lists and tables."""
    del config, files
    place = page.file.src_uri
    if place == "index.md":
        page.meta["hide"] = ["navigation"]
    if page.file.generated_by and place not in AROUND:
        return markdown
    source = AROUND.get(place, DOCS / place)
    return "\n".join(_spaced(_relinked(markdown, source, place).splitlines()))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page, which must load nothing from another place.

    Raises:
        PluginError: it would.
    """
    del config
    loaded = _LOADED.search(output)
    if loaded is not None:
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {loaded[0]}")
    return output


def _linked(source: Path) -> Iterator[Path]:
    for _, link, _ in _LINK.findall(source.read_text(encoding="utf-8")):
        yield (source.parent / link).resolve()


def _place(target: Path) -> str:
    """Where a file of the repository is in the site."""
    for place, source in AROUND.items():
        if source == target:
            return place
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    return f"repository/{target.relative_to(ROOT).as_posix()}"


def _relinked(markdown: str, source: Path, place: str) -> str:
    def changed(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if target.is_dir():  # a folder of the repository has no page: its name remains
            return f"](#{match[3].removeprefix('#')}" if match[3] != ")" else "](#)"
        link = posixpath.relpath(_place(target), posixpath.dirname(place) or ".")
        return f"{match[1]}{link}{match[3]}"

    return _LINK.sub(changed, markdown)


def _spaced(lines: list[str]) -> Iterator[str]:
    """The lines, an empty one above each list or table that follows a sentence directly."""
    fenced, before = False, ""
    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
            if fenced and before.strip() and not line.startswith(" "):
                yield ""
        elif not fenced and _BLOCK_START.match(line) and before.strip():
            same = before[0] == "|" if line[0] == "|" else _in_list(before)
            if not same:
                yield ""
        yield line
        before = line


def _in_list(line: str) -> bool:
    return bool(re.match(r"^(\s|[-*] |\d+\. )", line))


def python_page() -> str:
    """The reference of the public modules, from their docstrings."""
    parts = ["# Python", "", "Public functions and classes, from their docstrings.", ""]
    for title, purpose, modules in PYTHON:
        parts += [f"## {title}", "", purpose, ""]
        parts += [f"::: ullage.{module}\n" for module in modules.split()]
    return "\n".join(parts)


def commands_page() -> str:
    """The reference of the commands, from the command line's own help."""
    from ullage.cli.main import app

    root: Any = typer.main.get_command(app)
    parts = [
        "# Commands",
        "",
        "Written from `ullage --help` and the help of each command. What they print as JSON, and "
        "exit codes: [the command line and its JSON](../cli.md).",
        "",
    ]
    for path, command in _commands(root, ("ullage",)):
        parts += _command(path, command)
    return "\n".join(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    nested = getattr(command, "commands", {})
    if not nested:
        yield path, command
    for name, each in nested.items():
        yield from _commands(each, (*path, name))


def _command(path: tuple[str, ...], command: Any) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join((*path, *(_metavar(each) for each in arguments), "[OPTIONS]"))
    parts = [f"## {' '.join(path)}", "", _plain(command.help), "", f"```text\n{usage}\n```", ""]
    if arguments or options:
        parts += ["| argument or option | default | meaning |", "|---|---|---|"]
    for each in (*arguments, *options):
        named = [_metavar(each)] if each in arguments else [*each.opts, *each.secondary_opts]
        if each.metavar and each not in arguments:
            named[-1] += f" {each.metavar}"
        names = ", ".join(f"`{name}`" for name in named)
        default = each.default
        shown = "" if default in (None, False, (), [], "") or callable(default) else f"`{default}`"
        if each.required:
            shown = "required"
        parts.append(f"| {names} | {_cell(shown)} | {_cell(_plain(each.help))} |")
    return [*parts, ""]


def _metavar(argument: Any) -> str:
    name = str(argument.metavar or argument.name).upper()
    name = name if argument.required else f"[{name}]"
    return f"{name} ..." if argument.nargs != 1 else name


def _plain(text: str | None) -> str:
    return " ".join((text or "").split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
