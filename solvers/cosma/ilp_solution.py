"""Reads the solution of COSMA's ILP: the values of its variables as order, spans and addresses."""

from dataclasses import replace

from ullage.solvers.cosma.ilp_model import CosmaModel
from ullage.solvers.cosma.plan import CosmaDecision, OperatorSpan

# Value above which a binary variable counts as 1.
HALF = 0.5


def solution_of(model: CosmaModel) -> CosmaDecision:
    """Order, residency and addresses of a program that was solved."""
    return CosmaDecision(_operator_order(model), _spans(model))


def _operator_order(model: CosmaModel) -> tuple[int, ...]:
    """The operator of each of the ILP's steps."""
    order = [-1] * model.count
    for operator, outputs in enumerate(model.program.outputs):
        for t, created in model.variables[outputs[0]].created.items():
            if created.varValue > HALF:
                order[t] = operator
    return tuple(order)


def _spans(model: CosmaModel) -> tuple[tuple[OperatorSpan, ...], ...]:
    """For each segment the operators during which the ILP keeps it, in time order."""
    held: list[dict[int, bool]] = [{} for _ in model.program.segments]  # step -> began there
    for tensor, variables in zip(model.program.tensors, model.variables, strict=True):
        if tensor.segment < 0:
            continue
        for t in range(variables.first, variables.last + 1):
            if not any(v.varValue > HALF for v in variables.resident(t)):
                continue
            preserved = t in variables.preserved and variables.preserved[t].varValue > HALF
            created = t in variables.created and variables.created[t].varValue > HALF
            takes_over = created and tensor.replaces >= 0
            held[tensor.segment][t] = held[tensor.segment].get(t, True) and not (
                preserved or takes_over
            )
    result: list[tuple[OperatorSpan, ...]] = []
    for addresses, steps in zip(model.addresses, held, strict=True):
        spans: list[OperatorSpan] = []
        for t, begins in sorted(steps.items()):
            if begins or not spans or spans[-1].last != t - 1:
                low = addresses[t].varValue if t in addresses else None
                spans.append(OperatorSpan(t, t, low))
            else:
                spans[-1] = replace(spans[-1], last=t)
        result.append(tuple(spans))
    return tuple(result)
