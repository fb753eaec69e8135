"""Problem documents with one thing changed that an author may get wrong, in every place."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

Document = dict[str, Any]
Act = Callable[[Document], None]


def mutants_of(document: Document) -> Iterator[tuple[str, Document]]:
    """(what was done, changed document) for each change of a program or of its target."""
    acts = [*_of_all(document), *_of_steps(document), *_of_uses(document)]
    acts += [*_of_buffers(document), *_of_target(document)]
    for name, act in acts:
        changed = copy.deepcopy(document)
        act(changed)
        if changed != document:
            yield name, changed


def _put(path: tuple[str | int, ...], **fields: object) -> Act:
    def act(document: Document) -> None:
        _at(document, path).update(copy.deepcopy(fields))

    return act


def _at(document: Document, path: tuple[str | int, ...]) -> Any:
    node: Any = document
    for key in path:
        node = node[key]
    return node


def _drop(path: tuple[str | int, ...], number: int) -> Act:
    return lambda document: _at(document, path).pop(number)


def _double(path: tuple[str | int, ...], number: int) -> Act:
    def act(document: Document) -> None:
        entries = _at(document, path)
        entries.insert(number, copy.deepcopy(entries[number]))

    return act


def _swap(path: tuple[str | int, ...], one: int, two: int) -> Act:
    def act(document: Document) -> None:
        entries = _at(document, path)
        entries[one], entries[two] = entries[two], entries[one]

    return act


def _entries(path: tuple[str | int, ...], count: int) -> Iterator[tuple[str, Act]]:
    """Each entry of a list left out or doubled, and the list empty or reversed."""
    name = ".".join(map(str, path))
    yield f"{name}: none", lambda document: _at(document, path).clear()
    yield f"{name}: reversed", lambda document: _at(document, path).reverse()
    for number in range(count):
        yield f"{name}.{number}: left out", _drop(path, number)
        yield f"{name}.{number}: doubled", _double(path, number)


def _of_all(document: Document) -> Iterator[tuple[str, Act]]:
    program = document["program"]
    yield from _entries(("program", "steps"), len(program["steps"]))
    yield from _entries(("program", "buffers"), len(program["buffers"]))
    for one in range(len(program["steps"])):
        for two in range(one + 1, len(program["steps"])):
            yield f"steps {one} and {two} swapped", _swap(("program", "steps"), one, two)
    for objective in ("traffic", "energy"):
        yield f"objective {objective}", _put((), objective=objective)


def _of_steps(document: Document) -> Iterator[tuple[str, Act]]:
    for t, step in enumerate(document["program"]["steps"]):
        path = ("program", "steps", t)
        values: dict[str, tuple[object, ...]] = {
            "kind": ("dma", "Relu", ""),
            "operator": (-2, -1, 0, 1, 99, 10**6),
            "macs": (0, 1, 2**62),
            "vector_elements": (0, 1),
            "workspace_bytes": (0, 2**40),
            "copy": (1, 2**40),
            "measured_s": (0.0, 1e-3),
            "name": ("", document["program"]["steps"][t - 1]["name"]),
            "uses": ([],),
        }
        for field, others in values.items():
            for other in others:
                yield f"step {t}: {field} {other!r}", _put(path, **{field: other})
        yield from _entries((*path, "uses"), len(step["uses"]))


def _of_uses(document: Document) -> Iterator[tuple[str, Act]]:
    buffers = document["program"]["buffers"]
    for t, step in enumerate(document["program"]["steps"]):
        for number, use in enumerate(step["uses"]):
            path = ("program", "steps", t, "uses", number)
            start, end = use["start_byte"], use["end_byte"]
            name = f"step {t}, use {number}"
            yield f"{name}: write", _put(path, write=not use["write"])
            for value in ("nobody", "", buffers[0]["name"], buffers[-1]["name"]):
                yield f"{name}: value {value!r}", _put(path, value=value)
            for buffer in range(-1, len(buffers) + 1):
                yield f"{name}: buffer {buffer}", _put(path, buffer=buffer)
            for accessed in (0, 1, end - start + 1):
                yield f"{name}: accessed_bytes {accessed}", _put(path, accessed_bytes=accessed)
            for low, high in ((start, start), (start + 1, end), (end, start), (start, end + 1)):
                yield (
                    f"{name}: [{low}, {high})",
                    _put(path, start_byte=low, end_byte=high, accessed_bytes=max(0, high - low)),
                )


def _of_buffers(document: Document) -> Iterator[tuple[str, Act]]:
    buffers = document["program"]["buffers"]
    for number, buffer in enumerate(buffers):
        path, size = ("program", "buffers", number), buffer["size_bytes"]
        half = size // 2
        outputs: list[list[list[int]]] = [[[0, size]], [[0, size], [0, size]], [[0, 0]], [[0, 1]]]
        outputs += [[[0, half], [half // 2, size]], [[half, size], [0, half]]]
        outputs += [[[0, size + 1]], [[size, 0]], []]
        values: dict[str, tuple[object, ...]] = {
            "name": ("", buffers[number - 1]["name"]),
            "size_bytes": (0, 1, size - 1, size + 1, 2**40),
            "kind": ("input", "weight", "activation", "output", "state"),
            "row_bytes": (0, 3, size, size + 1),
            "outputs": tuple(outputs),
        }
        for field, others in values.items():
            for other in others:
                yield f"buffer {number}: {field} {other!r}", _put(path, **{field: other})
        yield from _entries((*path, "values"), len(buffer["values"]))
        for which, value in enumerate(buffer["values"]):
            inside = (*path, "values", which)
            name = f"buffer {number}, value {which}"
            for other in ("", "other", buffers[number - 1]["name"]):
                yield f"{name}: name {other!r}", _put(inside, name=other)
            start, end = value["start_byte"], value["end_byte"]
            for low, high in ((start, start), (start, end - 1), (end, start), (start, end + 1)):
                yield f"{name}: [{low}, {high})", _put(inside, start_byte=low, end_byte=high)


def _of_target(document: Document) -> Iterator[tuple[str, Act]]:
    target = document["target"]
    tiers = [tier["name"] for tier in target["tiers"]]
    for number, tier in enumerate(target["tiers"]):
        path = ("target", "tiers", number)
        for alignment in (0, 3, 48, 2**20):
            yield f"{tiers[number]}: aligned to {alignment}", _put(path, alignment_bytes=alignment)
        for capacity in (0, 100, 2**62):
            yield f"{tiers[number]}: of {capacity}", _put(path, capacity_bytes=capacity)
        for flag in ("addressable", "read_only"):
            yield f"{tiers[number]}: {flag}", _put(path, **{flag: not tier[flag]})
    yield from _entries(("target", "tiers"), len(tiers))
    yield from _entries(("target", "links"), len(target["links"]))
    for kind in target["homes"]:
        for home in (*tiers, "nowhere"):
            yield f"home of {kind}: {home}", _put(("target", "homes"), **{kind: home})
    for granularity in (0, 3, 64, 2**40):
        yield f"slices of {granularity}", _put(("target",), slice_granularity_bytes=granularity)
    yield "operands in the fastest tier", _put(("target",), operand_access="fastest")


def small_problem(target: str) -> Problem:
    """A weight used twice, an operator in place, one with two operands, scratch memory."""
    tensors = [Tensor("x", 1024, "input"), Tensor("w", 512, "weight")]
    tensors += [Tensor(name, 1024) for name in "abc"] + [Tensor("y", 1024, "output")]
    operators = [
        Op("conv", ["x", "w"], ["a"], macs=90_000),
        Op("relu", ["a"], ["b"], vector_elements=1024, in_place={"b": "a"}),
        Op("next", ["b", "w"], ["c"], macs=9_000, workspace_bytes=64),
        Op("add", ["b", "c"], ["y"], vector_elements=1024, in_place={"y": "c"}),
    ]
    chip = load_target(target).with_fast_memory(8192)
    return problem_from_lists("small", tensors, operators, chip)
