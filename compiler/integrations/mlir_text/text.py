"""The text of a function: its head, its operations with their lines, and lists at their commas."""

import re
from collections.abc import Iterator

from ullage.compiler.common.errors import ModelError

_CONTINUED = re.compile(r"(?:ins|outs|into|to|dimensions|permutation|attrs)\b|[:(]")
_BODY = re.compile(r"\{[^\S\n]*\n")
_FUNCTION = re.compile(r"func\.func\s+(?:private\s+|public\s+|nested\s+)?@([\w$.\-]+)\s*\(")
_TYPED = re.compile(r":\s*(?=[a-z!])")


def function_of(text: str) -> tuple[str, int, list[str], list[tuple[int, str]]]:
    """Name, line, arguments, and (line, text) of the operations of the one function of a module.

    Regions inside of an operation (the body of `linalg.generic`) are left out.

    Raises:
        ModelError: there is none or several, or its braces do not match.
    """
    plain = re.sub(r"//[^\n]*", "", text).replace("->", "  ")
    heads = [match for match in _FUNCTION.finditer(plain) if _body_of(plain, match) is not None]
    if len(heads) != 1:
        names = ", ".join(f"@{match[1]}" for match in heads) or "none"
        raise ModelError(f"one func.func with a body is read, and the text has: {names}")
    (head,) = heads
    depth, end = 1, head.end()
    while depth and end < len(plain):
        depth += {"(": 1, ")": -1}.get(plain[end], 0)
        end += 1
    body = _body_of(plain, head)
    line = plain.count("\n", 0, head.start()) + 1
    arguments = split_list(plain[head.end() : end - 1])
    return head[1], line, arguments, list(_operations(plain, body or 0))


def _body_of(text: str, head: "re.Match[str]") -> int | None:
    """The brace that opens the body of a function; None of a declaration."""
    following = _FUNCTION.search(text, head.end())
    end = following.start() if following else len(text)
    body = _BODY.search(text, head.end(), end)
    return None if body is None else body.start()


def _operations(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """(line, text without regions) of the operations between a brace and its match.

    Raises:
        ModelError: there is no match.
    """
    before: tuple[int, str] | None = None
    for line, part in _lines(text, begin):
        if before is not None and _CONTINUED.match(part):
            before = (before[0], f"{before[1]} {part}")
            continue
        if before is not None:
            yield before
        before = (line, part)
    if before is not None:
        yield before


def _lines(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """(line, text without regions) of the lines between a brace and its match, lists joined."""
    depth, brackets = 1, 0
    line = first = text.count("\n", 0, begin) + 1
    current = ""
    for character in text[begin + 1 :]:
        line += character == "\n"
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            break
        if depth > 1 or character == "}":
            continue
        brackets += {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}.get(character, 0)
        if character == "\n" and brackets <= 0:
            if current:
                yield first, " ".join(current.split())
            current, brackets = "", 0
        elif current or not character.isspace():
            first = first if current else line
            current += character
    else:
        raise ModelError("a brace of the function is not closed")
    if current.strip():
        yield first, " ".join(current.split())


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
