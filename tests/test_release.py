"""What a release promises: versions, licences, packages, files that others read."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.support.licences import closure, is_permissive, licence
from tests.support.packages import ROOT, pythons

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_comes_from_tags_alone() -> None:
    project = PROJECT["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert any(each.startswith("setuptools-scm") for each in PROJECT["build-system"]["requires"])
    assert re.match(r"\d+\.\d+", version("ullage"))


def test_the_changelog_has_a_section_for_each_tag_the_newest_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    numbers = [re.match(r"(\d+)\.(\d+)\.(\d+)\b", title) for title in titles]
    assert titles
    assert all(numbers)
    versions = [tuple(int(part) for part in number.groups()) for number in numbers if number]
    assert versions == sorted(set(versions), reverse=True)
    tags = subprocess.run(["git", "tag"], cwd=ROOT, capture_output=True, text=True, check=False)
    for tag in re.findall(r"^v(\d+)\.(\d+)\.(\d+)$", tags.stdout, re.MULTILINE):
        assert tuple(map(int, tag)) in versions, tag


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND MIT", True),
        ("MIT License", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("GPL-3.0-or-later", False),
        ("GNU LGPL with parts under MIT", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_licences_are_judged(text: str, *, allowed: bool) -> None:
    assert is_permissive(text) is allowed


def test_every_dependency_has_a_licence_that_permits_what_ours_does() -> None:
    extras = tuple(PROJECT["project"]["optional-dependencies"])
    found = closure("ullage", extras)
    assert {"numpy", "onnx", "ortools", "pytest"} <= set(found)
    bad = {name: licence(dist) for name, dist in found.items() if not is_permissive(licence(dist))}
    assert bad == {}


def test_every_extra_for_users_is_named_where_it_is_missing() -> None:
    rooms = ("cli", "compiler", "hwmodels", "rl_agent", "solvers")
    code = "".join(
        path.read_text(encoding="utf-8") for room in rooms for path in (ROOT / room).rglob("*.py")
    )
    for extra, needs in PROJECT["project"]["optional-dependencies"].items():
        if needs and extra not in ("test", "lint", "mutation", "docs"):  # of developers
            assert f"pip install 'ullage[{extra}]'" in code, extra


def test_the_citation_file_is_one() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert cited["title"] == "ullage"
    assert cited["license"] == PROJECT["project"]["license"]
    assert cited["authors"]
    assert cited["message"]
    assert "version" not in cited  # tags have it


def test_supported_pythons_are_found() -> None:
    found = pythons()
    assert sys.version_info[:2] in found
    assert min(found) >= (3, 11)
    assert all(Path(path).exists() for path in found.values())


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r":\s+([\w/.-]+\.md)$", settings, re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed
    assert "font: false" in settings
