"""README and docs, block by block, as a new reader would try them in an empty folder."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.support.doc_blocks import (
    LANGUAGES,
    PAGES,
    ROOT,
    Block,
    blocks,
    inline_commands,
    masked,
    page_name,
)
from ullage.cli.main import app, run
from ullage.compiler.importer.optypes import ELEMENTWISE
from ullage.compiler.importer.reach.rules import RULES
from ullage.hwmodels.catalog.registry import list_targets
from ullage.solvers.check import check_solver
from ullage.solvers.registry import solver_names

# Seconds that a command of a page gets at most, where it names a limit.
MOST_S = "3"
CONSOLE_PAGES = list(dict.fromkeys(block.page for block in blocks("console")))
PYTHON_PAGES = sorted({block.page for block in blocks("python")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, in which the pages follow one another, README first."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def shortened(words: list[str]) -> list[str]:
    """The arguments of a command with a small limit, where it has one."""
    arguments = words[1:]
    for at, word in enumerate(arguments[:-1]):
        if word == "--time-limit":
            arguments[at + 1] = MOST_S
    return arguments


def labels(text: str) -> list[str]:
    """What the rows of a summary are called; the rest depends on the machine's speed."""
    return [
        re.split(r" {2,}|:| \d", line)[0]
        for line in text.splitlines()
        if line and not line.startswith(" ")
    ]


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    found = blocks()
    assert len(found) > 10
    assert {block.language for block in found} <= set(LANGUAGES)
    assert not [b for b in found if b.language == "text" and "\n$ " in f"\n{b.text}"]


@pytest.mark.usefixtures("_inside")
@pytest.mark.parametrize("page", CONSOLE_PAGES)
def test_commands_do_what_the_page_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks of a page follow one another: later ones use files of earlier ones."""
    on_page = (block for block in blocks("console") if block.page == page)
    for words, printed in (command for block in on_page for command in block.commands()):
        if words[0] == "make":  # installs from the network: that it knows the goal must do here
            subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)
            continue
        if words[0] == ".":
            assert words[1].endswith("bin/activate")
            continue
        assert words[0] == "ullage", words
        assert run(shortened(words)) == 0, (words, capsys.readouterr().err)
        out = capsys.readouterr().out
        if printed:
            assert masked(out.splitlines()) == masked(printed), words


def test_make_compile_ends_with_what_the_readme_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = re.search(r"^compile:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    (last,) = [line.split() for line in recipe[1].splitlines() if "/ullage compile" in line]
    (shown,) = [b for b in blocks("text") if b.page == "README.md" and "sram live" in b.text]
    assert run(last[1:]) == 0
    out = capsys.readouterr().out
    assert labels(out) == labels(shown.text)
    for row in ("latency", "lower bound", "schedule", "slow traffic", "plan"):
        assert row in labels(out)
    assert "gap 0.00 % (feasible)" not in shown.text


@pytest.mark.usefixtures("_inside")
@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_python_runs(page: str) -> None:
    if not Path("out/plan.json").exists():
        assert run(["compile", "squeezenet", "-o", "out", "--quiet"]) == 0
    namespace: dict[str, Any] = {}
    for block in blocks("python"):
        if block.page == page:
            code = compile(block.text, f"{block.page}:{block.line}", "exec")
            if not block.missing:
                exec(code, namespace)  # noqa: S102 - our own pages


@pytest.mark.parametrize(
    ("page", "module"),
    [("solvers.md", "my_solvers"), ("tutorials/solver.md", "smallest_first")],
)
def test_the_solver_of_the_page_keeps_its_contract(
    page: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(b for b in blocks("python") if b.page == page)
    (entry,) = [b for b in blocks("toml") if b.page == page]
    namespace: dict[str, Any] = {"__name__": module}
    exec(code.text, namespace)  # noqa: S102 - our own page
    solver = namespace["SOLVER"]
    points = tomllib.loads(entry.text)["project"]["entry-points"]["ullage.solvers"]
    assert points == {solver.name: f"{module}:SOLVER"}
    monkeypatch.setattr("ullage.solvers.check.find_solver", lambda _: solver)
    monkeypatch.setattr("ullage.solvers.run.find_solver", lambda _: solver)
    assert not [case for case in check_solver(solver.name) if case.breaches]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("block", blocks("cpp"), ids=name)
def test_cpp_programs_build_and_run(block: Block, tmp_path: Path) -> None:
    source, built = tmp_path / "program.cpp", tmp_path / "program"
    source.write_text(block.text, encoding="utf-8")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, str(source), "-o", str(built)], check=True)
    command = [str(built), str(tmp_path), str(Path(sys.executable).with_name("ullage"))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)
    assert json.loads(done.stdout)["format"] == "ullage-solution"


@pytest.mark.usefixtures("_inside")
@pytest.mark.parametrize("block", blocks("yaml"), ids=name)
def test_target_files_of_the_pages_are_valid(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    named = yaml.safe_load(block.text)["name"]
    Path(f"{named}.yaml").write_text(block.text, encoding="utf-8")
    assert run(["targets", "validate", f"{named}.yaml"]) == 0
    assert f"target {named!r} is valid" in capsys.readouterr().out
    assert run(["compile", "squeezenet", "--target", f"{named}.yaml", "--quiet"]) == 0


@pytest.mark.parametrize("block", blocks("json"), ids=name)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def test_commands_named_in_the_text_exist_with_their_options() -> None:
    root: Any = typer.main.get_command(app)
    commands = inline_commands()
    assert len(commands) > 40
    for page, text in commands:
        words = re.sub(r"[\[\]]", " ", text).split()[1:]
        command, shown = root, words
        while shown and hasattr(command, "commands"):
            assert shown[0].rstrip(",") in command.commands, (page, text)
            command, shown = command.commands[shown[0].rstrip(",")], shown[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        named = {match for word in shown for match in re.findall(r"^--?[a-z][a-z-]*", word)}
        assert named <= known | {"--help"}, (page, text, named - known)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), (page_name(page), link)


def test_links_to_a_section_lead_to_its_heading() -> None:
    found = [
        (page, link, section)
        for page in (*PAGES, ROOT / "CHANGELOG.md")
        for link, section in re.findall(
            r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")
        )
    ]
    assert found
    for page, link, section in found:
        text = (page.parent / link if link else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        # A section's name in links: small letters, blanks as hyphens, no other signs.
        names = [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings]
        assert section in names, (page_name(page), link, section)


def test_tables_name_every_target_and_solver() -> None:
    for page, names in (("targets.md", list_targets()), ("solvers.md", solver_names())):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
        assert [each for each in names if f"`{each}`" not in rows] == [], page


def test_the_table_of_what_can_be_cut_names_every_rule() -> None:
    text = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
    table = text[text.index("| operators | cut along") :].split("\n\n")[0]
    named = {
        name
        for row in table.splitlines()[2:]
        for name in re.findall(r"`([\w.]+)`", row.split("|")[1])
        if not name.endswith("...")
    }
    elementwise = {name for name in RULES if name in ELEMENTWISE or name.startswith("Reduce")}
    assert named <= set(RULES)
    assert set(RULES) - elementwise - named == set()
