"""Constraints for pip: every dependency at the lower bound that `pyproject.toml` declares.

`python tests/support/lowest.py [EXTRA ...]` prints them; `make lowest` installs them and runs the
smoke test, so that the bounds are true.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9][0-9a-z.]*)")


def constraints(extras: Iterable[str] = (), project: Path = PROJECT) -> Iterator[str]:
    """`name==version` for each dependency, of the base install and of some extras.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    settings = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    listed = list(settings["dependencies"])
    for extra in extras:
        listed += settings["optional-dependencies"][extra]
    for dependency in listed:
        bound = _BOUND.match(dependency)
        if bound is None:
            raise ValueError(f"{dependency}: it needs a lower bound")
        yield f"{bound[1]}=={bound[2]}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints(sys.argv[1:])) + "\n")
