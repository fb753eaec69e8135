"""Remedies of a refusal that the same command takes: parts where they can be, options as given."""

import re
from typing import TypeVar

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.schedules import is_searched
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.tiling.allowed import with_allowed_cuts
from ullage.solvers.paths.greedy import brings_operands
from ullage.solvers.paths.streaming import streaming_capacities
from ullage.solvers.state.infeasibility import capacity_option, capacity_options

# The option that gives the fastest tier another capacity, with its size in bytes.
FAST_MEMORY = re.compile(r"--fast-memory( \d+)?")
# Remedies that cut operators, as options ...
_PARTS = ("--schedule", "tiles.allowed")
# ... and in a message, with what joins them to the others.
_IN_PARTS = re.compile(
    r"(?:, or )?run (?:it|operators) in parts(?: if the chip can)? "
    r"\((?:--schedule cascade|--set tiles\.allowed=true)\)(, or )?"
)
# What comes before the remedies in a message.
_TO_DO = "To do: "

Refusal = TypeVar("Refusal", bound=UllageError)


def with_remedies(error: Refusal, prepared: Prepared, options: CompileOptions) -> Refusal:
    """A refusal with the remedies that help, as options that go with those of the command.

    Args:
        error: the refusal.
        prepared: what was to be planned.
        options: how to compile.

    Returns:
        An error of the same kind and with the same figures.
    """
    target = prepared.target
    if not _parts_may_fit(prepared.graph, target, error):
        error = without_parts(error)
    error = _with_every_capacity(error, prepared, searched=is_searched(options, target))
    is_set = f"tiers.{target.fastest.name}.capacity_bytes" in options.overrides
    return with_set_capacity(error, target) if is_set or options.minimised == "peak" else error


def _parts_may_fit(graph: Graph, target: Target, error: Refusal) -> bool:
    """Whether operators in parts may fit: no rule forbids it, and no smallest part is too large."""
    from ullage.solvers.scheduling.cascade.fitting import least_bytes

    if not graph.operators:
        return False
    cut = with_allowed_cuts(graph, target) if target.tile_axes else graph
    named = error.details.get("operator")
    if any(one.name == named and one.reach is None for one in cut.operators):
        return False
    capacity_bytes = target.fastest.capacity_bytes
    return all(least_bytes(cut, one, target) <= capacity_bytes for one in cut.operators)


def _with_every_capacity(error: Refusal, prepared: Prepared, *, searched: bool) -> Refusal:
    """The refusal with the capacities of all memories that lead to a plan, as one remedy.

    Where operands come over several memories, more of one alone may only lead to the next refusal.
    A schedule that was searched for may be another one with more memory; whole operators are not.

    Args:
        error: the refusal.
        prepared: what was to be planned; with whole operators where a schedule is searched for.
        searched: the refusal may be that of a schedule that was searched for.
    """
    problem, target, details = prepared.problem, prepared.target, dict(error.details)
    if not brings_operands(problem) or "needed_bytes" not in details:
        return error
    tier = str(details["tier"])
    named = int(details.get("enough_bytes", details["needed_bytes"]))
    old, remedies = capacity_option(target, tier, named), list(details.get("remedies", ()))
    sizes = streaming_capacities(problem) if old in remedies else {}
    if not sizes:
        return error
    new = capacity_options(target, sizes)
    details["enough_bytes_by_tier"] = sizes
    if not searched or named >= sizes.get(tier, target.tier(tier).capacity_bytes):
        details["remedies"] = [new if remedy == old else remedy for remedy in remedies]
        return type(error)(error.message.replace(f"({old})", f"({new})"), details)
    details["remedies"] = [new, *remedies]
    whole = f"give whole operators enough, which need no search ({new})"
    parts = "or, if the search then finds parts that fit, "
    return type(error)(error.message.replace(_TO_DO, f"{_TO_DO}{whole}, {parts}"), details)


def without_parts(error: Refusal) -> Refusal:
    """The refusal where no cut helps, without the remedies that cut operators.

    Args:
        error: the refusal, which may name `--schedule cascade` or `tiles.allowed` as a remedy.
    """

    def joint(found: re.Match[str]) -> str:
        return ", or " if found[0].startswith(", or ") and found[1] else ""

    details = dict(error.details)
    if "remedies" in details:
        details["remedies"] = [
            remedy for remedy in details["remedies"] if not any(each in remedy for each in _PARTS)
        ]
    return type(error)(_IN_PARTS.sub(joint, error.message), details)


def with_set_capacity(error: Refusal, target: Target) -> Refusal:
    """The refusal with `--set` for a capacity of the fastest tier, where `--fast-memory` clashes.

    It does with the objective `peak`, and with a `--set` of the same capacity.

    Args:
        error: the refusal, with `--fast-memory` as a remedy.
        target: the chip.
    """
    field = f"--set tiers.{target.fastest.name}.capacity_bytes"

    def reworded(text: str) -> str:
        return FAST_MEMORY.sub(lambda found: f"{field}={(found[1] or ' BYTES')[1:]}", text)

    details = dict(error.details)
    if "remedies" in details:
        details["remedies"] = [reworded(remedy) for remedy in details["remedies"]]
    return type(error)(reworded(error.message), details)
