"""Survivors that are known: `judged.yaml` says which are equivalent, and which no test notices."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

JUDGED = Path(__file__).with_name("judged.yaml")


@dataclass(frozen=True, order=True)
class Change:
    """What a mutant changes: the place, the lines before and after, without indentation."""

    module: str
    line: int
    definition: str
    before: str
    after: str

    def __str__(self) -> str:
        place = f"{self.module}:{self.line} ({self.definition})"
        return f"{place}\n    - {self.before}\n    + {self.after}"


@dataclass(frozen=True)
class Judgement:
    """An entry of `judged.yaml`. Blanks make no difference.

    Attributes:
        where: `module:definition`, with `*` for anything.
        before: the line as it is (lines joined), or the part of a line that changes.
        after: what mutants make of it; `*` for anything.
        reason: why no test can notice them, or why none does.
    """

    where: str
    before: str
    after: tuple[str, ...]
    reason: str

    def covers(self, change: Change) -> bool:
        """Whether the entry speaks of a change."""
        if not fnmatchcase(f"{change.module}:{change.definition}", self.where):
            return False
        before, line, mutant = map(_unspaced, (self.before, change.before, change.after))
        for after in self.after:
            if after == "*" and line == before:
                return True
            at = line.find(before)
            while at >= 0:
                if line[:at] + _unspaced(after) + line[at + len(before) :] == mutant:
                    return True
                at = line.find(before, at + 1)
        return False


def _unspaced(text: str) -> str:
    return "".join(text.split())


def read_judged() -> tuple[list[Judgement], list[Judgement]]:
    """The entries for equivalent mutants, and those for known survivors."""
    text = yaml.safe_load(JUDGED.read_text(encoding="utf-8"))
    equivalent, known = (
        [
            Judgement(item["where"], item["before"], tuple(item["after"]), item["reason"])
            for item in text[kind] or ()
        ]
        for kind in ("equivalent", "known")
    )
    return equivalent, known
