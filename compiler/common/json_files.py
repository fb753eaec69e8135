"""JSON files from anywhere: read strictly, and errors that name the field and what it holds."""

import json
import stat
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


def json_value(data: bytes) -> Any:  # noqa: ANN401 - a document may hold anything
    """What a JSON document in UTF-8 holds.

    Raises:
        ValueError: no JSON, one key twice in an object, or nested too deep for a reader; says what
            to do about a byte order mark, another encoding, or a file that is cut short.
    """
    if data.startswith(BOM_UTF8):
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {data[error.start]:#04x}"
        raise ValueError(f"it is no UTF-8 text ({byte}); save it as UTF-8") from error
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return json.loads(text, object_pairs_hook=_with_unique_keys)
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        more = "; the file ends before the document does" if is_cut else ""
        raise ValueError(f"invalid JSON: {error}{more}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def json_object(data: bytes) -> dict[str, Any]:
    """The object that a JSON document is.

    Raises:
        ValueError: as of `json_value`, or it holds no object.
    """
    document = json_value(data)
    if not isinstance(document, dict):
        raise ValueError(f"it holds {brief(document)}, not an object")  # noqa: TRY004 - as no JSON
    return document


def object_at(path: object) -> Mapping[str, Any] | None:
    """The object in a `.json` file; None where a path leads to none.

    It tells what kind of file a user has named. Whoever then reads it says what is wrong with it.
    The last file is parsed once, however often it is asked for, until it changes.
    """
    if not isinstance(path, Path) or path.suffix != ".json":
        return None
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None  # what a pipe gives is for its reader
    try:
        return _object_of(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except (ValueError, UsageError):
        return None


@lru_cache(maxsize=1)
def _object_of(path: Path, *_state: int) -> Mapping[str, Any]:
    """The object in a file, in one state of the file; callers share it and leave it as it is."""
    return json_object(read_file(path, MAX_READ_BYTES))


def check_version(
    version: object, where: str, what: str, readable: Sequence[int], remedy: str = ""
) -> int:
    """The version of a file's format.

    Args:
        version: what its field `format_version` holds.
        where: what messages call the file.
        what: what it is a file of.
        readable: versions that can be read.
        remedy: what to do about another.

    Raises:
        UsageError: it is another version, or none.
    """
    if type(version) is not int or version not in readable:  # true is 1 to Python
        raise UsageError(
            f"{where}: {what} format {brief(version)}; this version reads "
            f"{' and '.join(map(str, readable))}{remedy}"
        )
    return version


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON document; one key twice would leave open which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def brief(value: object) -> str:
    """A value of a JSON document as a short text."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return "an object" if isinstance(value, Mapping) else "an array"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def field_fault(error: "ValidationError") -> tuple[str, str]:
    """The first field that a schema refuses: its name, and what is wrong with it.

    Args:
        error: of pydantic.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part)[:80] for part in first["loc"])
    count = error.error_count()
    more = f" ({count} problems in all)" if count > 1 else ""
    plain = {"missing": "is missing", "unexpected_keyword_argument": "is unknown"}
    kind = first["type"]
    if kind in plain or kind == "extra_forbidden":
        return name, f"field {name} {plain.get(kind, 'is unknown')}{more}"
    return name, f"field {name}: {first['msg']}, found {brief(first['input'])}{more}"


def json_fault(error: "ValidationError", data: bytes) -> str | None:
    """What makes a document no JSON to pydantic, where that is what it says; else None.

    Python's own reader is laxer: it takes a byte order mark and lone surrogates.

    Args:
        error: of pydantic.
        data: the document.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] != "json_invalid":
        return None
    if data.startswith(BOM_UTF8):
        return "it begins with a byte order mark; save it as UTF-8 without one"
    return str(first["msg"]).replace("Invalid JSON", "invalid JSON", 1)


def schema_of(adapter: "TypeAdapter[Any]", title: str) -> dict[str, Any]:
    """The JSON Schema of what an adapter reads.

    Args:
        adapter: of a dataclass.
        title: title of the schema.
    """
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **adapter.json_schema(), "title": title}


def published(package: str, name: str) -> dict[str, Any]:
    """A JSON document that ships with a package.

    Args:
        package: the package, with dots.
        name: name of the file in it.
    """
    return json_object(files(package).joinpath(name).read_bytes())
