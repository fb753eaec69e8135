"""What would help a plan: its latency on a slightly better chip, and prices by a solver."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.hwmodels.cost import Score, score

# Factor by which a chip is made better: 10 % more of something.
BETTER = 1.1
# Source of a row that comes from scoring the same plan on a better chip.
RESCORED = "re-scored"
# Share of a plan's latency below which what an improvement saves is rounding: it is left out.
NOISE = 1e-6


def what_would_help(
    plan: Plan, cost: Score, prices: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Improvements of the chip, the most helpful first, and what each would save.

    Bandwidth and compute are measured: the plan as it is, scored on a chip with 10 % more. That
    is no more than a better plan for that chip would save. The worth of fast memory needs
    another plan or dual prices of the solver's LP: `prices` and `Plan.shadow_prices` give
    them; without any, the row says where to find out.

    Args:
        plan: a legal plan.
        cost: its score.
        prices: mappings with the keys below.

    Returns:
        Rows with `what` (text), `saves_s` (seconds, None where nobody knows) and `source` (text);
        none where less than a millionth of the latency would be saved, but not nothing.
    """
    target = plan.target
    rows = [
        _row(f"10 % more bandwidth of {name}", plan, better, cost)
        for name, better in _better_chips(target)
    ]
    rows.append(_row("10 % faster compute", plan, _faster_compute(target), cost))
    known_prices = [*map(_checked, prices)]
    known_prices += [
        {"what": what, "saves_s": saves, "source": f"{plan.bound_source or plan.solver}, at most"}
        for what, saves in plan.shadow_prices
        if plan.objective == "latency"
    ]
    rows += known_prices
    memory = f"10 % more {target.fastest.name}"
    if not any(memory in row["what"] for row in known_prices):
        source = "see ullage sweep"  # another plan, or LP prices
        rows.append({"what": memory, "saves_s": None, "source": source})
    rows = [row for row in rows if not 0.0 < (row["saves_s"] or 0.0) < NOISE * cost.latency_s]
    return sorted(rows, key=lambda row: -(row["saves_s"] or 0.0))


def _row(what: str, plan: Plan, better: Target, cost: Score) -> dict[str, Any]:
    after = score(replace(plan, problem=plan.problem.on(better)))
    return {
        "what": what,
        "saves_s": max(0.0, cost.latency_s - after.latency_s),
        "source": RESCORED,
    }


def _better_chips(target: Target) -> list[tuple[str, Target]]:
    """For each tier the chip on which it and its links to faster tiers move 10 % more."""
    chips: list[tuple[str, Target]] = []
    for index, tier in enumerate(target.tiers):
        links = [link for link in target.links if _slower_end(target, link) is tier]
        tiers = tuple(_wider(t) if t is tier else t for t in target.tiers)
        wider = tuple(
            replace(link, bandwidth_bytes_per_s=BETTER * link.bandwidth_bytes_per_s)
            if link in links
            else link
            for link in target.links
        )
        name = f"{tier.name} and its links" if index and links else tier.name
        chips.append((name, replace(target, tiers=tiers, links=wider)))
    return chips


def _slower_end(target: Target, link: Link) -> Tier:
    return max(
        (target.tier(link.source), target.tier(link.destination)),
        key=lambda tier: target.tier_index[tier.name],
    )


def _wider(tier: Tier) -> Tier:
    return replace(
        tier,
        read_bytes_per_s=BETTER * tier.read_bytes_per_s,
        write_bytes_per_s=BETTER * tier.write_bytes_per_s,
    )


def _faster_compute(target: Target) -> Target:
    return replace(target, compute=target.compute.at_speed(BETTER))


def _checked(price: Mapping[str, Any]) -> dict[str, Any]:
    source = str(price.get("source", "dual prices of the LP"))
    return {"what": str(price["what"]), "saves_s": float(price["saves_s"]), "source": source}
