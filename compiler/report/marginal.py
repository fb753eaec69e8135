"""The worth of each buffer's place: the plan is scored again with one buffer changed at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Tier
from ullage.hwmodels.cost import Score
from ullage.hwmodels.resources import resources
from ullage.hwmodels.traffic import OperandCharges, operand_charges


@dataclass(frozen=True)
class Marginal:
    """Seconds of latency that depend on one buffer's place, with all others left where they are.

    Attributes:
        saves_s: (B,) how much longer the plan would take if operators reached this buffer in its
            home tier only and it had no transfers.
        costs_s: (B,) how much shorter it would be if operators reached it in the fastest tier and
            it had no transfers: what more fast memory could save at most on this buffer.
    """

    saves_s: Floats
    costs_s: Floats


def marginal_seconds(plan: Plan, cost: Score) -> Marginal:
    """Score a plan again with each buffer at home, and with each buffer in the fastest tier.

    Only the steps that a buffer touches are scored again, by the formula of docs/plan-semantics.md.
    The changed plans need not be legal: capacities are ignored.

    Args:
        plan: a legal plan.
        cost: its score.
    """
    operands = operand_charges(plan)
    owners = np.array([r.buffer for r in plan.residencies], dtype=np.int64)[operands.residency]
    buffers = plan.problem.buffers
    tier_index = plan.target.tier_index
    homes = np.array([tier_index[plan.target.home(b.kind).name] for b in buffers], dtype=np.int64)
    released = list(_transfer_seconds(plan))
    fastest = np.zeros(len(owners), dtype=np.int64)
    at_home = _elapsed_change(plan, cost, (operands, owners, homes[owners]), released)
    at_best = _elapsed_change(plan, cost, (operands, owners, fastest), released)
    return Marginal(saves_s=np.maximum(at_home, 0.0), costs_s=np.maximum(-at_best, 0.0))


# (buffer, step, row of the table of busy tiers and links, seconds)
_Entry = tuple[int, int, int, float]


def _elapsed_change(
    plan: Plan,
    cost: Score,
    moved: tuple[OperandCharges, Ints, Ints],
    released: list[_Entry],
) -> Floats:
    """(B,) change of the latency in s if a buffer's operands moved and its transfers did not exist.

    Args:
        plan: the plan.
        cost: its score.
        moved: the P parts of operands, the buffer of each, and the tier that each moves to.
        released: what the transfers take from tiers and links.
    """
    operands, owners, tiers = moved
    goes = np.flatnonzero(tiers != operands.tier)
    rates = _rates(plan.target.tiers)
    write = operands.write[goes].astype(np.int64)
    load = operands.charged_bytes[goes]
    leaves = -load / rates[operands.tier[goes], write]
    arrives = load / rates[tiers[goes], write]
    table = np.array(released, dtype=np.float64).reshape(-1, 4)
    unit = len(cost.tiers) + len(cost.links)
    waits = resources(plan.problem).exposed * (leaves + arrives)
    buffers = np.concatenate([*[owners[goes]] * 3, table[:, 0].astype(np.int64)])
    steps = np.concatenate([*[operands.step[goes]] * 3, table[:, 1].astype(np.int64)])
    rows = [operands.tier[goes], tiers[goes], np.full(len(goes), unit), table[:, 2]]
    rows_of = np.concatenate(rows).astype(np.int64)
    seconds = np.concatenate([leaves, arrives, waits, -table[:, 3]])
    total = len(plan.problem.steps)
    cells, where = np.unique(buffers * total + steps, return_inverse=True)
    busy = np.vstack([cost.tier_seconds, cost.link_seconds, cost.unit_by_step[None]]).T
    change = np.zeros((len(cells), busy.shape[1]))
    np.add.at(change, (where, rows_of), seconds)
    at = cells % total
    after, before = (busy[at] + change).max(axis=1), busy[at].max(axis=1)
    size = len(plan.problem.buffers)
    sums = np.bincount(cells // total, weights=after - before, minlength=size)
    return np.asarray(sums, dtype=np.float64)


def _rates(tiers: tuple[Tier, ...]) -> Floats:
    """(M, 2) read and write bandwidth in bytes/s; a read-only tier is never written."""
    return np.array(
        [
            (t.read_bytes_per_s, t.read_bytes_per_s if t.read_only else t.write_bytes_per_s)
            for t in tiers
        ]
    )


def _transfer_seconds(plan: Plan) -> Iterator[_Entry]:
    """Seconds that every transfer takes from its tiers' ports and its link."""
    table = resources(plan.problem)
    for transfer in plan.transfers:
        link = table.link_of(transfer)
        rows = int(table.source[link]), int(table.destination[link]), len(table.tiers) + link
        yield transfer.buffer, transfer.moves[0][0], rows[2], float(table.setup_s[link])
        for step, size in transfer.moves:
            for row, rate in zip(rows, table.transfer_rates(link), strict=True):
                yield transfer.buffer, step, row, size / rate
