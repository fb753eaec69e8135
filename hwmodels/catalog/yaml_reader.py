"""Reading YAML from strangers: scalars, lists and mappings only, in bounded time and memory."""

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import kind_of, read_file

# Size in bytes beyond which a file is refused.
MAX_FILE_BYTES = 1_000_000
# Mappings and lists inside one another beyond which a file is refused.
MAX_DEPTH = 32
# Scalars, mappings and lists in all beyond which a file is refused.
MAX_NODES = 20_000
# Length of one scalar beyond which a file is refused; parsing an integer takes quadratic time.
MAX_SCALAR_CHARACTERS = 2_000


class _PlainLoader(yaml.SafeLoader):
    """A safe loader without anchors, tags, merge keys, duplicate keys or unbounded documents.

    Scalars are read by the core schema of YAML 1.2, but for some floats: PyYAML's own YAML 1.1
    takes `on` and `yes` for true, `1:30` for 90, `010` for 8 and `2024-01-01` for a date.
    """

    # Filled below; without it those of YAML 1.1 would be inherited.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared so by PyYAML

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 PyYAML: a node or a position
        event: Any = self.peek_event()  # type: ignore[no-untyped-call] # the stubs lack types
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse("anchors and aliases are not allowed; write the value out", event)
        if getattr(event, "tag", None) is not None:
            self._refuse("tags (!, !!) are not allowed; write a plain value", event)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR_CHARACTERS:
            self._refuse(f"a value is longer than {MAX_SCALAR_CHARACTERS} characters", event)
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            limit = f"{MAX_NODES} values, nested {MAX_DEPTH} deep"
            self._refuse(f"the document is larger than {limit}; shorten it", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merge keys, which would hide where a value comes from."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                self._refuse("merge keys (<<) are not allowed; use `inherit`", key)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self._refuse(f"the key {key.value[:60]!r} stands twice; keep one", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def _refuse(self, problem: str, where: Any) -> NoReturn:  # noqa: ANN401 an event or a node
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


_TAG = "tag:yaml.org,2002:"
# (tag, form, first characters) of the scalars that are no texts.
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        # With a point and a sign: 4e9 and 4.0e9 stay texts, which figures read, sizes exactly.
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),  # to be refused
)
for _name, _form, _first in _CORE_SCHEMA:
    _PlainLoader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_form})\\Z"), _first)


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """A whole number: decimal (with leading zeros too), `0x` or `0o`."""
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


_PlainLoader.add_constructor(_TAG + "int", _whole_number)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UsageError: the file cannot be read, is larger than 1 MB, is no YAML, is no mapping with
            text keys, or uses anchors, tags, merge keys or a key twice.
    """
    if (kind := kind_of(path)) != "a file":
        found = f" (it is {kind})" if kind else ""
        raise UsageError(
            f"{str(path)[:200]}: no such file{found}; give the path of a YAML target file"
        )
    content = read_file(path, MAX_FILE_BYTES)
    try:
        loader = _PlainLoader(content)
        try:
            document = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"{path}: not a readable YAML document: {_brief(error)}") from error
    if not isinstance(document, dict):
        actual = "nothing" if document is None else f"a {type(document).__name__}"
        raise UsageError(
            f"{path}: the top level must be a mapping of fields (name, tiers, links ...), "
            f"found {actual}; see docs/targets.md"
        )
    return document


def _brief(error: Exception) -> str:
    """The problem and its place, without the excerpt of the file that PyYAML adds."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)[:200]
