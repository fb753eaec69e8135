"""Plan documents with one field replaced, dropped, renamed or doubled, in any of many places."""

import copy
import json
import math
from collections.abc import Iterator
from random import Random
from typing import Any

# What may stand in the place of a value. 1e400 is written so and read as infinity.
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    "",
    "x",
    -1,
    0,
    1e308,
    math.inf,
    math.nan,
    2**63,
    2**70,
    0.5,
    [],
    {},
)
# Other things done to a field.
DROP, RENAME, DOUBLE = "drop", "rename", "double"

Path = tuple[str | int, ...]


def paths_of(document: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every value in a JSON document, containers included."""
    if path:
        yield path
    inside = document.items() if isinstance(document, dict) else ()
    inside = enumerate(document) if isinstance(document, list) else inside
    for key, value in inside:
        yield from paths_of(value, (*path, key))


def mutants_of(document: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """(what was done, changed document) for each thing that can be done at a path."""

    def changed(act: Any) -> Any:
        fresh = copy.deepcopy(document)
        node = fresh
        for key in path[:-1]:
            node = node[key]
        act(node, path[-1])
        return fresh

    def put(value: Any) -> Any:
        def act(node: Any, key: Any) -> None:
            node[key] = copy.deepcopy(value)

        return changed(act)

    def double(node: Any, key: Any) -> None:
        if isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        else:
            node[f"{key}_2"] = copy.deepcopy(node[key])

    for value in HOSTILE:
        yield f"{value!r}", put(value)
    yield DROP, changed(lambda node, key: node.pop(key))
    yield DOUBLE, changed(double)
    if isinstance(path[-1], str):
        yield RENAME, changed(lambda node, key: node.__setitem__(key + "s", node.pop(key)))


def sample(document: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """(name, mutant) for `count` places chosen at random, every kind of field alike."""
    random = Random(seed)
    shapes: dict[Path, list[Path]] = {}
    for path in paths_of(document):
        shape = tuple("*" if isinstance(key, int) else key for key in path)
        shapes.setdefault(shape, []).append(path)
    kinds = list(shapes)
    for _ in range(count):
        path = random.choice(shapes[random.choice(kinds)])
        name, mutant = random.choice(list(mutants_of(document, path)))
        yield f"{'.'.join(map(str, path))}: {name}", mutant


def text_of(document: Any) -> bytes:
    """The file of a mutant; infinity is written as the JSON number 1e400."""
    return json.dumps(document).replace("Infinity", "1e400").encode()
