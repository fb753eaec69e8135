"""The report's data: a compiled plan as one JSON document (docs/report.md lists the keys)."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.common.palette import LIGHT, PAIRS, SHADES, TIERS
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import peak_residents, summarise, summary_rows, time_by_binding
from ullage.compiler.ir.graph import Value
from ullage.compiler.report.advice import what_would_help
from ullage.compiler.report.columns import (
    buffer_columns,
    cascade_columns,
    residency_columns,
    space_columns,
    step_columns,
    transfer_columns,
    use_columns,
    value_columns,
)
from ullage.compiler.report.extras import Extras
from ullage.compiler.report.marginal import marginal_seconds
from ullage.hwmodels.cost import mac_energy_j

# Version of the document.
REPORT_FORMAT = 1


def report_data(
    compiled: Compiled, values: Mapping[str, Value] | None = None, extras: Extras | None = None
) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        compiled: a verified plan and its figures; they are shown as they are, not worked out again.
        values: the model's values by name, for types and shapes, where the model is known.
        extras: comparisons, sweeps and prices to show beside the plan.
    """
    plan, cost = compiled.plan, compiled.score
    other_data = extras or Extras()
    summary = summarise(compiled)
    worth = marginal_seconds(plan, cost)
    return {
        "format": REPORT_FORMAT,
        "title": f"{summary['model']} on {summary['target']}",
        "summary": summary,
        "rows": [list(row) for row in summary_rows(compiled, summary)],
        "binding_s": dict(time_by_binding(compiled)),
        "energy_of": _energy_of(compiled),
        "target": _target(compiled),
        "palette": {
            "roles": list(LIGHT),
            "tiers": TIERS,
            "pairs": PAIRS,
            "shades": SHADES,
        },
        "steps": step_columns(plan, cost),
        "cascades": cascade_columns(plan),
        "spaces": space_columns(plan),
        "buffers": buffer_columns(plan, worth.saves_s, worth.costs_s),
        "values": value_columns(plan, values or {}),
        "uses": use_columns(plan),
        "residencies": residency_columns(plan),
        "transfers": transfer_columns(plan),
        "peaks": [_peak(compiled, index) for index in range(len(plan.target.tiers))],
        "help": what_would_help(plan, cost, other_data.prices),
        "compare": [dict(row) for row in other_data.compare],
        "sweep": [dict(row) for row in other_data.sweep],
    }


def _energy_of(compiled: Compiled) -> list[str]:
    """What the plan's energy is made of."""
    parts = {
        "operands": True,
        "DMA": bool(compiled.plan.transfers),
        "MACs": mac_energy_j(compiled.plan.problem)[0] > 0,
    }
    return [name for name, counts in parts.items() if counts]


def _target(compiled: Compiled) -> dict[str, Any]:
    target = compiled.plan.target
    index = target.tier_index
    pairs = list(dict.fromkeys((index[x.source], index[x.destination]) for x in target.links))
    return {
        "name": target.name,
        "homes": dict(target.homes),
        "tiers": [
            {
                "name": tier.name,
                "capacity_bytes": tier.capacity_bytes,
                "read_bytes_per_s": tier.read_bytes_per_s,
                "write_bytes_per_s": 0.0 if tier.read_only else tier.write_bytes_per_s,
            }
            for tier in target.tiers
        ],
        "pairs": pairs,
        "links": [
            {
                "name": link.name,
                "bandwidth_bytes_per_s": link.bandwidth_bytes_per_s,
                "setup_s": link.setup_s,
                "pair": pairs.index((index[link.source], index[link.destination])),
            }
            for link in target.links
        ],
    }


def _peak(compiled: Compiled, tier_index: int) -> dict[str, Any]:
    """The step at which a tier has the most live bytes, those bytes, and what they are."""
    plan = compiled.plan
    peak = peak_residents(plan, plan.target.tiers[tier_index].name)
    return {
        "step": peak.step,
        "bytes": peak.size_bytes,
        "residents": [list(resident) for resident in peak.residents],
    }
