"""Can the parts of a target do what they are there for? Checks of a whole target, from anywhere.

A sound target file resolves to a target; a problem file brings one of its own. Each fault names the
field, as `--set` spells it, and a remedy.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import get_args

from ullage.compiler.common.errors import Fault
from ullage.compiler.common.ranges import MIN_RATE
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import Target

_KINDS: tuple[Kind, ...] = get_args(Kind)
# Kinds of buffers that operators write, so that their home must be writable.
_WRITTEN_KINDS: tuple[Kind, ...] = ("activation", "output")


def role_problems(target: Target) -> list[Fault]:
    """What a target whose fields are sound cannot do, though its plans would need it."""
    return [
        *_tier_problems(target),
        *_read_only_problems(target),
        *_reach_problems(target),
        *_request_problems(target),
    ]


def _tier_problems(target: Target) -> Iterator[Fault]:
    """Alignments that are no powers of two, slices that break them, a fastest tier out of reach."""
    for tier in target.tiers:
        alignment = tier.alignment_bytes
        if alignment & (alignment - 1):
            yield Fault(
                f"tiers.{tier.name}.alignment_bytes", f"{alignment} is no power of two; use one"
            )
    first = target.fastest
    for key, wrong in (("read_only", first.read_only), ("addressable", not first.addressable)):
        if wrong:
            remedy = "operators must be able to read and write in the fastest tier"
            yield Fault(f"tiers.{first.name}.{key}", f"{remedy}; list another tier first")
    granularity, alignment = target.slice_granularity_bytes, first.alignment_bytes
    if 0 < granularity < alignment:
        yield Fault(
            "slice_granularity",
            f"{granularity} bytes are less than the alignment of {first.name!r} ({alignment}); "
            f"use at least {alignment}, or `row`",
        )


def _read_only_problems(target: Target) -> Iterator[Fault]:
    """Links into read-only tiers, and homes there of buffers that operators write."""
    for link in target.links:
        if target.tier(link.destination).read_only:
            path = f"links.{link.name}.destination"
            yield Fault(path, "this tier is read-only; remove the link")
    for kind in _WRITTEN_KINDS:
        home = target.home(kind)
        if home.read_only:
            remedy = "choose a tier that is not read-only"
            yield Fault(f"homes.{kind}", f"{home.name!r} cannot be written; {remedy}")


def _reach_problems(target: Target) -> Iterator[Fault]:
    """Buffers that must be in the fastest tier to be used, and cannot get there or back."""
    fastest = target.fastest.name
    for kind in _KINDS:
        home = target.homes[kind]
        if home == fastest or not target.must_be_fastest(kind):
            yield from _far_home_problems(target, kind)
            continue
        routes = [(home, fastest)] if kind != "output" else []
        routes += [(fastest, home)] if kind in _WRITTEN_KINDS else []
        for source, destination in routes:
            if not _linked(target, source, destination):
                yield Fault(
                    "links",
                    f"operators reach {kind} buffers in {fastest!r} only, but nothing leads from "
                    f"{source!r} to {destination!r}; add a link, or let operators use {home!r}",
                )


def _request_problems(target: Target) -> Iterator[Fault]:
    """Tiers whose requests bring next to nothing, or less than a tier behind them."""
    for tier in target.tiers:
        if tier.request_bytes_per_s < MIN_RATE:
            yield Fault(
                f"tiers.{tier.name}.max_outstanding_requests",
                f"so many bursts each {tier.latency_s:g} s are less than {MIN_RATE:g} bytes/s; "
                "allow more, or lower latency_s",
            )
    for faster, slower in pairwise(tier.as_served for tier in target.tiers):
        if slower.read_bytes_per_s > faster.read_bytes_per_s:
            yield Fault(
                f"tiers.{faster.name}.max_outstanding_requests",
                f"leaves {faster.read_bytes_per_s:g} bytes/s, less than {slower.name!r} behind it "
                f"({slower.read_bytes_per_s:g}); allow more requests, or list tiers fastest first",
            )


def _far_home_problems(target: Target, kind: Kind) -> Iterator[Fault]:
    """Faults of a home that operators cannot reach: no links join it with a tier that they can."""
    home = target.home(kind)
    if home.addressable or home.name == target.fastest.name:
        return
    near = [target.fastest, *(tier for tier in target.tiers[1:] if tier.addressable)]
    comes = any(_linked(target, home.name, tier.name) for tier in near)
    goes = any(_linked(target, tier.name, home.name) for tier in near)
    if (kind != "output" and not comes) or (kind in _WRITTEN_KINDS and not goes):
        yield Fault(
            "links",
            f"operators do not reach {kind} buffers in {home.name!r}, and no links lead between it "
            f"and {' or '.join(repr(tier.name) for tier in near)}; add a link, or choose another "
            f"home (homes.{kind})",
        )


def _linked(target: Target, source: str, destination: str) -> bool:
    """Whether links lead from one tier to another, directly or by way of others."""
    reached = {source}
    for _ in target.tiers:
        reached |= {link.destination for link in target.links if link.source in reached}
    return destination in reached
