"""What others have published about a chip, beside what its target file says."""

from dataclasses import dataclass

from ullage.hwmodels.catalog.quantities import Figure
from ullage.hwmodels.catalog.registry import Description
from ullage.hwmodels.compute.peaks import peak_macs_per_s

# Operations that a multiply-accumulate counts as.
OPS_PER_MAC = 2


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure, and ours.

    Attributes:
        what: what it is of, for people.
        figure: the published one.
        ours: what the target says, in its unit; None for latencies, which take a plan.
    """

    what: str
    figure: Figure
    ours: float | None

    @property
    def ratio(self) -> float | None:
        """Ours over the published one."""
        return None if self.ours is None else self.ours / self.figure.value


def published_figures(description: Description) -> list[PublishedFigure]:
    """Peak rates and bandwidths beside ours, then latencies of networks.

    The peak of an array, of blocks or of kernels is that of the model, not the listed rate.
    """
    target, published = description.target, description.published
    rows = [
        PublishedFigure(
            f"peak {dtype}", figure, OPS_PER_MAC * peak_macs_per_s(target.compute, dtype)
        )
        for dtype, figure in published.ops_per_s.items()
    ]
    rows += [
        PublishedFigure(f"bandwidth of {name}", figure, target.tier(name).read_bytes_per_s)
        for name, figure in published.bytes_per_s.items()
    ]
    for run in published.runs:
        what = f"{run.model} {run.dtype}" + (f", batch {run.batch}" if run.batch > 1 else "")
        rows.append(PublishedFigure(what, run.latency_s, None))
    return rows
