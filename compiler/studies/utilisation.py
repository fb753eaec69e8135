"""How well a model uses the multipliers of a chip, by kind of operator."""

from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.compute.model import StepTimes


@dataclass(frozen=True)
class KindFigures:
    """What the operators of a kind take together, were data always at hand.

    Attributes:
        kind: kind of their first loop nest (`convolution`, `depthwise` ...), `other` without one.
        operators: how many there are.
        macs: their multiply-accumulates.
        vector_elements: their elements for the vector unit.
        compute_s: seconds of the compute unit, by the target's model.
        share: of the seconds of all operators.
        utilisation: multiply-accumulates over those that the listed rates allow in that time; None
            where there are none.
    """

    kind: str
    operators: int
    macs: int
    vector_elements: int
    compute_s: float
    share: float
    utilisation: float | None


def utilisation_by_kind(problem: Problem) -> list[KindFigures]:
    """The kinds of operators, those that take longest first.

    Args:
        problem: the steps of a model, and the chip.

    Raises:
        UsageError: the target cannot cost a data type of the model.
    """
    times = StepTimes(problem.target)
    steps = [step for step in problem.steps if step.kind != DMA_STEP]
    timed = [(step, times.of(step)) for step in steps]
    total_s = sum(seconds for _, seconds in timed)
    kinds: dict[str, list[int]] = {}
    for at, (step, _) in enumerate(timed):
        kinds.setdefault(step.nests[0].kind if step.nests else "other", []).append(at)
    rows = []
    for kind, members in kinds.items():
        chosen = [timed[at] for at in members]
        compute_s = sum(seconds for _, seconds in chosen)
        least_s = sum(step.macs / times.rate_of(step) for step, _ in chosen if step.macs)
        rows.append(
            KindFigures(
                kind=kind,
                operators=len({step.operator for step, _ in chosen}),
                macs=sum(step.macs for step, _ in chosen),
                vector_elements=sum(step.vector_elements for step, _ in chosen),
                compute_s=compute_s,
                share=compute_s / total_s if total_s else 0.0,
                utilisation=least_s / compute_s if least_s and compute_s else None,
            )
        )
    return sorted(rows, key=lambda row: (-row.compute_s, row.kind))
