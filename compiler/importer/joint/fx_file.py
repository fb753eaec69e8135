"""Joint training graphs in fx form (`.json`): operators and tensors of a traced step.

    {"format": "fx-joint-1",
     "tensors": {"params_1": {"shape": [64, 784], "dtype": "float32", "kind": "param"}, ...},
     "ops": [{"name": "mm", "op": "aten.mm.default", "inputs": ["x", "permute"]}, ...],
     "outputs": ["loss", "sub", ...]}

An operator writes the tensor of its name. One whose tensor is missing has several results, which
`getitem` operators name: those become its outputs. There are no attributes and no data: such
a graph is planned and verified, never executed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ullage.compiler.common.dtypes import BITS, resized, storage_bytes
from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import json_object, object_at
from ullage.compiler.common.ranges import MAX_COUNT
from ullage.compiler.importer.joint.aten import (
    ELEMENTWISE,
    LOOK_UPS,
    ROWS,
    VIEWS,
    base_name,
    work_of,
)
from ullage.compiler.importer.load import checked_elements
from ullage.compiler.ir.graph import Fallback, Graph, Kind, Operator, Sharing, Value

# Beginning of what `format` of such a file says.
JOINT_FORMAT = "fx-joint"
# Kinds of tensors that are given.
GIVEN = frozenset({"param", "input", "buffer"})


def is_joint_file(path: object) -> bool:
    """Whether a path is that of a joint graph in fx form: JSON with `ops` and `tensors`."""
    document = object_at(path)
    return document is not None and "ops" in document and "tensors" in document


def import_joint(
    path: Path,
    *,
    dtype: str | None = None,
    name: str = "",
    outputs: Sequence[str] | None = None,
) -> Graph:
    """The graph of a joint training graph in fx form.

    Args:
        path: the file.
        dtype: floating-point tensors are planned as this type; None: as they are.
        name: name of the graph, default the file's.
        outputs: those of its outputs that are needed, default all.

    Raises:
        ModelError: the file has another form, two operators have one name, an operator reads what
            nothing makes, or a size is beyond what 64-bit integers hold.
    """
    document = object_at(path)
    if document is None:  # it says what is wrong
        try:
            document = json_object(read_file(path, MAX_READ_BYTES, ModelError))
        except ValueError as error:
            raise ModelError(f"{path}: no JSON document: {error}") from error
    return _Reader(document, str(path), dtype).graph(name or path.stem, outputs)


class _Reader:
    """A document on its way to a graph."""

    def __init__(self, document: Mapping[str, Any], where: str, dtype: str | None) -> None:
        self.where = where
        self.dtype = dtype
        self.tensors = self._mapping(document, "tensors")
        self.entries = document.get("ops")
        self.outputs = document.get("outputs")
        for field, found in (("ops", self.entries), ("outputs", self.outputs)):
            if not isinstance(found, list):
                raise ModelError(f'{where}: a joint graph has a list "{field}"')
        if not all(isinstance(name, str) for name in self.outputs or ()):
            raise ModelError(f'{where}: "outputs" is a list of names')

    def graph(self, name: str, needed: Sequence[str] | None) -> Graph:
        """The graph, without operators that no output needs."""
        entries = [self._entry(entry, at) for at, entry in enumerate(self.entries or ())]
        self._check_names(entries)
        outputs = tuple(self.outputs or ()) if needed is None else tuple(needed)
        results = self._live(entries, self._results(entries), outputs)
        values: dict[str, Value] = {}
        operators: list[Operator] = []
        fallbacks: list[Fallback] = []
        made: set[str] = set()
        for entry, written in zip(entries, results, strict=True):
            if not written:
                continue
            inputs = tuple(dict.fromkeys(entry["inputs"]))
            for read in inputs:
                if read not in made and self._kind(read) not in GIVEN:
                    raise ModelError(
                        f"{self.where}: {entry['name']!r} reads {read!r}, which no operator before "
                        "it makes and which is no parameter or input"
                    )
                values.setdefault(read, self._value(read, "input"))
            for result in written:
                kind: Kind = "output" if result in outputs else "activation"
                values[result] = self._value(result, kind)
            made.update(written)
            operator, reason = _operator(entry, inputs, written, values)
            operators.append(operator)
            if reason:
                fallbacks.append(Fallback(operator.name, operator.kind, reason))
        unknown = [output for output in outputs if output not in values]
        if unknown or not operators:
            what = f"its output {unknown[0]!r} is made by none" if unknown else "it has none"
            raise ModelError(f"{self.where}: operators of the joint graph: {what}")
        given = tuple(name for name, value in values.items() if value.kind == "input")
        return Graph(name, values, tuple(operators), given, outputs, tuple(fallbacks))

    def _mapping(self, document: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        found = document.get(field)
        if not isinstance(found, dict):
            raise ModelError(f'{self.where}: a joint graph has an object "{field}"')
        return found

    def _entry(self, entry: object, at: int) -> Mapping[str, Any]:
        """An operator of the file.

        Raises:
            ModelError: it has another form.
        """
        is_right = (
            isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            and isinstance(entry.get("op"), str)
            and isinstance(entry.get("inputs"), list)
            and all(isinstance(name, str) for name in entry["inputs"])
        )
        if not is_right or not isinstance(entry, dict):
            raise ModelError(
                f'{self.where}: entry {at} of "ops" is no object with texts "name" and "op" and a '
                'list of names "inputs"'
            )
        return entry

    def _check_names(self, entries: list[Mapping[str, Any]]) -> None:
        """Refuse a name that two operators have, and that of a given tensor: each makes its own.

        Raises:
            ModelError: names it.
        """
        first: dict[str, int] = {}
        for at, entry in enumerate(entries):
            name = entry["name"]
            if name in first:
                raise ModelError(
                    f'{self.where}: entries {first[name]} and {at} of "ops" are both named '
                    f"{name!r}; each operator makes the tensor of its name, so rename one"
                )
            first[name] = at
            if name in self.tensors and self._kind(name) in GIVEN:
                raise ModelError(
                    f'{self.where}: entry {at} of "ops" makes {name!r}, which "tensors" says is '
                    f"given ({self._kind(name)}); rename one"
                )

    def _results(self, entries: list[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """For each operator the tensors that it writes; none for a `getitem`."""
        items: dict[str, list[str]] = {}
        for entry in entries:
            if "getitem" in entry["op"] and entry["inputs"]:
                items.setdefault(entry["inputs"][0], []).append(entry["name"])
        results: list[tuple[str, ...]] = []
        for entry in entries:
            name = entry["name"]
            if "getitem" in entry["op"]:
                results.append(())
            elif name in self.tensors:
                results.append((name,))
            elif name in items:
                results.append(tuple(items[name]))
            else:
                raise ModelError(f'{self.where}: "tensors" has no entry for {name!r}')
        return results

    def _live(
        self,
        entries: list[Mapping[str, Any]],
        results: list[tuple[str, ...]],
        outputs: tuple[str, ...],
    ) -> list[tuple[str, ...]]:
        """For each operator the tensors that it writes and something needs."""
        wanted = set(outputs)
        live: list[tuple[str, ...]] = []
        for entry, written in zip(reversed(entries), reversed(results), strict=True):
            live.append(tuple(name for name in written if name in wanted))
            if live[-1]:
                wanted.update(entry["inputs"])
        return live[::-1]

    def _kind(self, name: str) -> str:
        tensor = self.tensors.get(name)
        return str(tensor.get("kind", "")) if isinstance(tensor, dict) else ""

    def _value(self, name: str, kind: Kind) -> Value:
        """A tensor of the file as a value.

        Raises:
            ModelError: its shape or type is missing or wrong.
        """
        tensor = self.tensors.get(name)
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ModelError(
                f'{self.where}: tensor {name!r} has no "shape", a list of whole numbers from 0'
            )
        if max(shape, default=0) > MAX_COUNT:
            raise ModelError(
                f"{self.where}: tensor {name!r} has a dimension beyond 2**62; the file is damaged"
            )
        stated = tensor.get("dtype") if isinstance(tensor, dict) else None
        if not isinstance(stated, str) or stated not in BITS:
            raise ModelError(
                f"{self.where}: tensor {name!r} has an unknown data type: {stated!r:.40}"
            )
        dtype = resized(stated, self.dtype)
        elements = checked_elements(tuple(shape), dtype, name, self.where)
        return Value(name, kind, dtype, tuple(shape), storage_bytes(dtype, elements))


def _operator(
    entry: Mapping[str, Any],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    values: Mapping[str, Value],
) -> tuple[Operator, str]:
    """An operator with its cost, and why that is an estimate (empty where it is none)."""
    name = base_name(entry["op"])
    shapes = [values[read].shape for read in entry["inputs"]]
    work = work_of(name, shapes, [values[result].shape for result in outputs])
    sharings, vector_elements = _sharings(name, inputs, outputs, values), work.vector_elements
    if any(sharing.kind == "view" for sharing in sharings):
        vector_elements = 0
    accessed: tuple[tuple[str, int], ...] = ()
    looked_up: tuple[str, ...] = ()
    if name in ROWS and inputs:
        table, rows = values[inputs[0]], sum(values[result].size_bytes for result in outputs)
        accessed = ((inputs[0], min(table.size_bytes, rows)),)
        if name in LOOK_UPS and table.kind == "weight" and rows < table.size_bytes:
            looked_up = (inputs[0],)
    operator = Operator(
        name=entry["name"],
        kind=name,
        inputs=inputs,
        outputs=outputs,
        macs=work.macs,
        mac_dtype=values[inputs[0]].dtype if inputs else "float32",
        vector_elements=vector_elements,
        gemms=work.gemms,
        accessed_bytes=accessed,
        looked_up=looked_up,
        sharings=sharings,
    )
    return operator, work.fallback


def _sharings(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], values: Mapping[str, Value]
) -> tuple[Sharing, ...]:
    """What the result of an operator may share with operands of its size and type."""
    if len(outputs) != 1 or not inputs:
        return ()
    result = values[outputs[0]]
    same = [
        read
        for read in inputs
        if values[read].size_bytes == result.size_bytes and values[read].dtype == result.dtype
    ]
    if name in VIEWS:
        return tuple(Sharing("view", result.name, read) for read in same[:1])
    if name in ELEMENTWISE:
        return tuple(Sharing("in_place", result.name, read) for read in same)
    return ()
