"""Licences of everything that an installation of ullage brings along.

`python tests/support/licences.py` prints them, and ends with 1 where one is not known to permit
what Apache-2.0 permits. Packages of extras are looked at where they are installed.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

# Licences, as packages name them (SPDX names, classifiers, free texts), whose conditions end with
# notices and texts to be kept. MPL-2.0 asks for changes of its own files alone.
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python-2\.0|Python Software Foundation|MPL-2\.0|MPL 2\.0|"
    r"Mozilla Public License 2\.0|0BSD|Zlib|Unlicense|CC0-1\.0|HPND|MIT-CMU|Public Domain)\b",
    re.IGNORECASE,
)
# Licences that ask for more, unless a package offers another one beside them.
RESTRICTIVE = re.compile(r"\b(A?GPL|LGPL|SSPL|BUSL|Commons Clause|Proprietary)", re.IGNORECASE)


def requirements(dist: Distribution, extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What a package needs here, with some of its extras."""
    for text in dist.requires or ():
        need = Requirement(text)
        if need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            yield need


def closure(name: str, extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Name -> package of all that is installed of what a package needs, itself excluded."""
    found: dict[str, Distribution] = {}
    left = list(requirements(distribution(name), extras))
    while left:
        need = left.pop()
        key = re.sub(r"[-_.]+", "-", need.name).lower()
        if key in found or key == name:
            continue
        try:
            found[key] = distribution(need.name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        left += requirements(found[key], tuple(need.extras))
    return dict(sorted(found.items()))


def licence(dist: Distribution) -> str:
    """What a package says: its SPDX expression, else its classifiers, else a line of text."""
    expression = dist.metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in dist.metadata.get_all("Classifier") or ()
        if text.startswith("License :: ") and not text.endswith(" :: OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    text = (dist.metadata.get("License") or "").strip()
    return text.splitlines()[0] if text else _of_file(dist)


def _of_file(dist: Distribution) -> str:
    """The first line of the licence's file, where the metadata say nothing."""
    for file in dist.files or ():
        if re.match(r"(licen[cs]e|copying)", file.name, re.IGNORECASE):
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            return next((line for line in lines if line), "")
    return ""


def is_permissive(text: str) -> bool:
    """Whether a licence is known to permit what Apache-2.0 permits; of a choice, one suffices."""
    return any(
        PERMISSIVE.search(part) is not None and RESTRICTIVE.search(part) is None
        for part in re.split(r"\bOR\b", text)
    )


def main() -> int:
    """Print the table; 0 where all are permissive."""
    extras = tuple(distribution("ullage").metadata.get_all("Provides-Extra") or ())
    base = closure("ullage", ())
    bad = 0
    for name, dist in closure("ullage", extras).items():
        text = licence(dist)
        allowed = is_permissive(text)
        bad += not allowed
        where = "" if name in base else " (extra)"
        print(f"{name} {dist.version}{where}: {text or 'unknown'}{'' if allowed else '  <- look'}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
