"""The text of a function: its head, its operations with their lines, and lists at their commas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ullage.compiler.common.errors import ModelError

_CONTINUED = re.compile(r"(?:ins|outs|into|to|dimensions|permutation|attrs)\b|[:(]")
_BODY = re.compile(r"\{[^\S\n]*\n")
_FUNCTION = re.compile(r"func\.func\s+(?:private\s+|public\s+|nested\s+)?@([\w$.\-]+)\s*\(")
_TYPED = re.compile(r":\s*(?=[a-z!])")
_ALIAS = re.compile(
    r"^[^\S\n]*(#[A-Za-z_][\w$\-]*)[^\S\n]*=[^\S\n]*(\S[^\n]*?)[^\S\n]*$", re.MULTILINE
)
_USED_ALIAS = re.compile(r"#[A-Za-z_][\w$\-]*(?![\w$.<\-])")
# A type of a memref; what stands in angle brackets inside has none itself.
MEMREF = re.compile(r"memref<[^<>]*(?:<[^<>]*>[^<>]*)*>")


@dataclass(frozen=True)
class Operation:
    """An operation of a function.

    Attributes:
        line: of the text, where it begins, from 1.
        text: without regions and attributes in braces, on one line.
        region: (line, text) of the lines inside of its braces.
    """

    line: int
    text: str
    region: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class FunctionText:
    """A function, cut at its commas and lines.

    Attributes:
        name: without the @.
        line: of the text, where it begins, from 1.
        arguments: one text each.
        results: their types, one text each.
        operations: in their order.
        module: the text of the whole module without comments, layouts by their names replaced.
    """

    name: str
    line: int
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    operations: tuple[Operation, ...]
    module: str


def function_of(text: str) -> FunctionText:
    """The one function of a module.

    Raises:
        ModelError: there is none or several, or its braces do not match.
    """
    plain = _without_aliases(re.sub(r"//[^\n]*", "", text).replace("->", "  "))
    heads = [match for match in _FUNCTION.finditer(plain) if _body_of(plain, match) is not None]
    if len(heads) != 1:
        names = ", ".join(f"@{match[1]}" for match in heads) or "none"
        raise ModelError(f"one func.func with a body is read, and the text has: {names}")
    (head,) = heads
    depth, end = 1, head.end()
    while depth and end < len(plain):
        depth += {"(": 1, ")": -1}.get(plain[end], 0)
        end += 1
    body = _body_of(plain, head) or 0
    results = re.split(r"\battributes\b", plain[end : max(end, body)])[0].strip()
    if results.startswith("(") and results.endswith(")"):
        results = results[1:-1]
    return FunctionText(
        head[1],
        plain.count("\n", 0, head.start()) + 1,
        tuple(split_list(plain[head.end() : end - 1])),
        tuple(_without_attributes(result) for result in split_list(results)),
        tuple(_operations(plain, body)),
        plain,
    )


def _without_aliases(text: str) -> str:
    """A text with the definitions of attributes (`#map = ...`) in place of their names in types."""
    known = dict(_ALIAS.findall(text))
    if not known:
        return text
    return MEMREF.sub(
        lambda type_: _USED_ALIAS.sub(lambda name: known.get(name[0], name[0]), type_[0]), text
    )


def _without_attributes(result: str) -> str:
    """The type of a result, in one piece, without the attributes behind it."""
    return "".join(result.partition("{")[0].split())


def _body_of(text: str, head: "re.Match[str]") -> int | None:
    """The brace that opens the body of a function; None of a declaration."""
    following = _FUNCTION.search(text, head.end())
    end = following.start() if following else len(text)
    body = _BODY.search(text, head.end(), end)
    return None if body is None else body.start()


def _operations(text: str, begin: int) -> Iterator[Operation]:
    """The operations between a brace and its match.

    Raises:
        ModelError: there is no match.
    """
    before: Operation | None = None
    for part in _lines(text, begin):
        if before is not None and (not part.text or _CONTINUED.match(part.text)):
            joined = f"{before.text} {part.text}".strip()
            before = Operation(before.line, joined, (*before.region, *part.region))
            continue
        if before is not None:
            yield before
        before = part
    if before is not None:
        yield before


def _lines(text: str, begin: int) -> Iterator[Operation]:
    """The lines between a brace and its match, lists joined.

    Raises:
        ModelError: there is no match.
    """
    depth, brackets = 1, 0
    line = first = text.count("\n", 0, begin) + 1
    current = ""
    region: list[tuple[int, str]] = []
    for character in text[begin + 1 :]:
        line += character == "\n"
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            break
        if depth > 1 or character == "}":
            if not region or region[-1][0] != line:
                region.append((line, ""))
            region[-1] = (line, region[-1][1] + character)
            continue
        brackets += {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}.get(character, 0)
        if character == "\n" and brackets <= 0:
            if current or region:
                yield Operation(first, " ".join(current.split()), tuple(region))
            current, brackets, region = "", 0, []
        elif current or not character.isspace():
            first = first if current else line
            current += character
    else:
        raise ModelError("a brace of the function is not closed")
    if current.strip():
        yield Operation(first, " ".join(current.split()), tuple(region))


def split_list(text: str) -> list[str]:
    """Parts of a list at its top-level commas."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, "<": 1, "[": 1, "{": 1, ")": -1, ">": -1, "]": -1, "}": -1}.get(
            character, 0
        )
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def in_parentheses(text: str, name: str) -> str:
    """What stands in the parentheses behind a word; empty where it is missing."""
    start = re.search(rf"\b{name}\s*\(", text)
    if start is None:
        return ""
    depth = 1
    for end in range(start.end(), len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start.end() : end]
    return text[start.end() :]


def at_types(text: str, where: str) -> tuple[str, str]:
    """What stands before and behind the colon of the types.

    Raises:
        ModelError: there is no colon.
    """
    parts = _TYPED.split(text, maxsplit=1)
    if len(parts) != 2:
        raise ModelError(f"{where}: the types of its operands are missing")
    return parts[0], parts[1]
