"""Reads the solution of COSMA's ILP."""

from dataclasses import replace

from ullage.solvers.cosma.ilp_model import CosmaModel
from ullage.solvers.cosma.plan import CosmaDecision, OperatorSpan

HALF = 0.5  # a binary is 1 above it


def solution_of(model: CosmaModel) -> CosmaDecision:
    """Order, residency and addresses of a program that was solved."""
    return CosmaDecision(_operator_order(model), _runs(model))


def _operator_order(model: CosmaModel) -> tuple[int, ...]:
    """The operator of each of the ILP's steps."""
    order = [-1] * model.count
    for operator, outputs in enumerate(model.program.outputs):
        for t, created in model.variables[outputs[0]].created.items():
            if created.varValue > HALF:
                order[t] = operator
    return tuple(order)


def _runs(model: CosmaModel) -> tuple[tuple[OperatorSpan, ...], ...]:
    """For each segment where the ILP keeps it, in time order."""
    held: list[dict[int, bool]] = [{} for _ in model.program.segments]  # step -> began there
    for tensor, own in zip(model.program.tensors, model.variables, strict=True):
        if tensor.segment < 0:
            continue
        for t in range(own.first, own.last + 1):
            if not any(v.varValue > HALF for v in own.resident(t)):
                continue
            preserved = t in own.preserved and own.preserved[t].varValue > HALF
            created = t in own.created and own.created[t].varValue > HALF
            takes_over = created and tensor.replaces >= 0
            held[tensor.segment][t] = held[tensor.segment].get(t, True) and not (
                preserved or takes_over
            )
    result: list[tuple[OperatorSpan, ...]] = []
    for addresses, steps in zip(model.addresses, held, strict=True):
        runs: list[OperatorSpan] = []
        for t, begins in sorted(steps.items()):
            if begins or not runs or runs[-1].last != t - 1:
                low = addresses[t].varValue if t in addresses else None
                runs.append(OperatorSpan(t, t, low))
            else:
                runs[-1] = replace(runs[-1], last=t)
        result.append(tuple(runs))
    return tuple(result)
