"""`--update`: a training step that updates some of its parameters only (a sparse update).

Outputs that are new values of other parameters go, and with them all operators that nothing else
needs: their gradients, and the part of the backward pass that serves these alone.

    --update last:2     w0  w1  w2  w3      the two parameters that the forward pass reads last
                                new new     the backward pass ends at w2

A list may give names with ratios, of output channels (`shares`).
"""

from codecs import BOM_UTF8
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import json_value
from ullage.compiler.common.units import counted, listed
from ullage.compiler.importer.states.found import find_pairs
from ullage.compiler.importer.states.shares import Share, share_of, split_shares
from ullage.compiler.ir.graph import Graph

# How many parameters, counted from the last that is read, or their names, some with ratios.
Updates = int | tuple[str, ...]
LAST = "last:"
# Digits of that number, at most.
MOST_DIGITS = 9
# Parameters that are named in a note, at most.
SHOWN = 8


def parse_updates(text: str) -> Updates:
    """What `--update` asks for: `last:N`, or the names in a file, one a line or as a JSON list.

    Raises:
        UsageError: the text is neither, the file holds no names, or a ratio is 0 or above 1.
    """
    if text.startswith(LAST):
        count = text.removeprefix(LAST)
        digits = count.lstrip("0")
        if not digits.isascii() or not digits.isdigit() or len(digits) > MOST_DIGITS:
            raise UsageError(
                f"--update last:N takes a whole number from 1 to {10**MOST_DIGITS - 1}, not "
                f"{count!r:.40}"
            )
        return int(digits)
    path = Path(text)
    if not path.is_file():
        raise UsageError(
            f"--update {text}: there is no such file; it takes last:N, or a file with the names of "
            "parameters"
        )
    try:
        data = read_file(path, MAX_READ_BYTES).removeprefix(BOM_UTF8)
        is_json = data.lstrip()[:1] in {b"[", b"{"}
        listed = json_value(data) if is_json else data.decode().split("\n")
    except ValueError as error:
        raise UsageError(f"{path}: no list of names: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UsageError(f"{path}: names of parameters, one a line, or a JSON list of texts")
    names = tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))
    if not names:
        raise UsageError(f"{path}: names no parameter")
    for entry in names:
        share_of(entry)
    return names


def shares_of(graph: Graph, updates: tuple[str, ...]) -> tuple[dict[str, str], list[Share]]:
    """For each parameter of a step the output that is its new value, and the shares that are named.

    Args:
        graph: a training step.
        updates: names, some with ratios.

    Raises:
        UsageError: no output is the new value of an input, or a name is none of theirs.
    """
    new_of = _new_values(graph)
    split = split_shares(updates, new_of)
    _chosen(graph, new_of, tuple(name for name, _ in split))
    return new_of, [share for _, share in split if share is not None]


def with_updates(
    graph: Graph, updates: Updates | None, new_of: Mapping[str, str] | None = None
) -> Graph:
    """The graph in which only some parameters get new values; the same where `updates` is None.

    Args:
        graph: a training step: parameters are inputs, their new values outputs.
        updates: which parameters.
        new_of: for each parameter the output that is its new value; None: what data flow shows.

    Raises:
        UsageError: no output is the new value of an input, a name is none of theirs, or there are
            fewer than the number.
    """
    if updates is None:
        return graph
    outputs, note = kept_outputs(graph, updates, new_of)
    left = pruned(graph, outputs)
    return replace(left, notes=(*left.notes, note))


def kept_outputs(
    graph: Graph, updates: Updates, new_of: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], str]:
    """The outputs that remain, and a note of the parameters that get new values.

    What remains is the new values of these, and what is no new value.

    Args:
        graph: a training step.
        updates: which parameters.
        new_of: for each parameter the output that is its new value; None: what data flow shows.

    Raises:
        UsageError: no output is the new value of an input, a name is none of theirs, or there are
            fewer than the number.
    """
    new_of = _new_values(graph) if new_of is None else new_of
    ratios: dict[str, str] = {}
    if isinstance(updates, tuple):
        split = split_shares(updates, new_of)
        ratios = {share.name: f" ({share.ratio})" for _, share in split if share is not None}
        updates = tuple(name for name, _ in split)
    chosen = _chosen(graph, new_of, updates)
    left_out = {new for parameter, new in new_of.items() if parameter not in chosen}
    outputs = tuple(name for name in graph.outputs if name not in left_out)
    names = listed([name + ratios.get(name, "") for name in chosen], SHOWN)
    counts = f"{len(chosen)} of {counted(len(new_of), 'parameter')}"
    note = f"--update: {counts} {'gets' if len(chosen) == 1 else 'get'} new values: {names}"
    return outputs, note


def _new_values(graph: Graph) -> dict[str, str]:
    """For each parameter the output that is its new value, as data flow shows.

    Raises:
        UsageError: there is none.
    """
    new_of = dict(find_pairs(graph))
    if not new_of:
        raise UsageError(
            f"--update: no output of {graph.name} is the new value of an input, element by element"
        )
    return new_of


def _chosen(graph: Graph, new_of: Mapping[str, str], updates: Updates) -> Collection[str]:
    """The parameters that are updated.

    Raises:
        UsageError: a name is none of theirs, or there are fewer than the number.
    """
    if isinstance(updates, int):
        first: dict[str, int] = {}
        for index, operator in enumerate(graph.operators):
            for name in operator.inputs:
                first.setdefault(name, index)
        if updates > len(new_of):
            raise UsageError(
                f"--update last:{updates}: {graph.name} updates {len(new_of)} parameters; give "
                f"1 to {len(new_of)}, or leave --update out",
                {"parameters": len(new_of)},
            )
        in_order = sorted(new_of, key=lambda name: first.get(name, -1))
        return in_order[-updates:]
    unknown = [name for name in updates if name not in new_of]
    if unknown:
        known = ", ".join(list(new_of)[:20])
        raise UsageError(
            f"--update: {unknown[0]!r} is no parameter that {graph.name} updates; it updates "
            f"{known}{' ...' if len(new_of) > 20 else ''}"
        )
    return updates


def pruned(graph: Graph, outputs: Collection[str]) -> Graph:
    """The graph with some of its outputs, without operators and values that none of them needs."""
    wanted = set(outputs)
    kept = []
    for operator in reversed(graph.operators):
        if not wanted.isdisjoint(operator.outputs):
            wanted.update(operator.inputs)
            kept.append(operator)
    operators = tuple(reversed(kept))
    used = {name for o in operators for name in (*o.inputs, *o.outputs)} | set(outputs)
    names = {operator.name for operator in operators}
    left = tuple(name for name in graph.outputs if name in set(outputs))
    return replace(
        graph,
        values={
            name: replace(value, kind="activation")
            if value.kind == "output" and name not in left
            else value
            for name, value in graph.values.items()
            if name in used
        },
        operators=operators,
        inputs=tuple(name for name in graph.inputs if name in used),
        outputs=left,
        fallbacks=tuple(f for f in graph.fallbacks if f.operator in names | used),
    )
