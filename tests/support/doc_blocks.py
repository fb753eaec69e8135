"""Blocks of the documentation, as a reader would use them.

The convention is in CONTRIBUTING.md: `console` blocks hold commands behind `$` and below each what
it prints; `python` blocks of a page share one namespace; a first line `# needs X` says what is
missing on a plain installation; a `cpp` block is a program.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
)
# Languages of blocks that the tests know.
LANGUAGES = ("console", "text", "python", "cpp", "yaml", "toml", "json")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"# needs (?:the extra )?(\w+)")
_INLINE = re.compile(r"`(ullage [a-z][^`]*)`")
_FIGURE = re.compile(r"\d[\d,.]*(e[+-]?\d+)?( ([KMGT]iB|B|[num]?s)\b)?")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its page, as seen from docs/ for those there.
        line: line of its fence, from 1.
        language: what follows the fence.
        text: what is in it.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def missing(self) -> str:
        """The package that a block needs and that is not installed; empty where none is missing."""
        needs = _NEEDS.match(self.text)
        return needs[1] if needs is not None and find_spec(needs[1]) is None else ""

    def commands(self) -> Iterator[tuple[list[str], list[str]]]:
        """(words of a command, lines below it) of a console block."""
        command: list[str] | None = None
        printed: list[str] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if not line.startswith("$ "):
                printed.append(line)
                continue
            if command is not None:
                yield command, printed
            command, printed = shlex.split(line[2:], comments=True), []
        if command is not None:
            yield command, printed


def page_name(page: Path) -> str:
    """What a page is called: its path in docs/, else its file name."""
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in some languages, all of them where none is named."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [
            Block(page_name(page), text.count("\n", 0, match.start()) + 1, match[1], match[2])
            for match in _BLOCK.finditer(text)
            if not languages or match[1] in languages
        ]
    return found


def inline_commands() -> list[tuple[str, str]]:
    """(page, text) of everything in backticks that begins with `ullage`, outside blocks."""
    return [
        (page_name(page), " ".join(match[1].split()))
        for page in PAGES
        for match in _INLINE.finditer(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    ]


def masked(lines: list[str]) -> list[str]:
    """Lines without figures, their units, widths and bars, which depend on the machine."""
    plain = (" ".join(_FIGURE.sub("#", line.split("│")[0]).split()) for line in lines)
    return [line for line in plain if line]
