"""The time of each step on a target, by the model that the target chooses."""

from collections.abc import Mapping

from ullage.compiler.common.dtypes import BITS, bits_of
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Compute, KernelCycles, Target
from ullage.hwmodels.compute import kernel_cycles, mac_blocks, systolic
from ullage.hwmodels.compute.listed import listed_or_scaled
from ullage.hwmodels.compute.peak import mac_seconds, vector_seconds
from ullage.hwmodels.compute.work import nests_of


class StepTimes:
    """The times of steps on one target; remembers what it had to assume.

    Attributes:
        notes: remarks about data types that another stands in for.
        shapeless: steps with multiply-accumulates that an array's geometry does not cost.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.notes: list[str] = []
        self.shapeless = 0
        self._rates: dict[str, float] = {}
        self._kernels: dict[str, tuple[Mapping[str, float], Mapping[str, float], float]] = {}

    def of(self, step: Step) -> float:
        """Seconds of an operator, without overhead.

        Raises:
            UsageError: the target lists no figure that its data type could be costed by.
        """
        if step.measured_s is not None:
            return step.measured_s
        compute = self.target.compute
        if compute.kernel_cycles is not None:
            return self._kernel_seconds(step, compute.kernel_cycles)
        if compute.mac_blocks is not None:
            return self._block_seconds(step, compute)
        seconds = vector_seconds(step, compute)
        if not step.macs:
            return seconds
        rate = self.rate_of(step)
        array = compute.systolic
        if array is not None and step.gemms:
            if array.rows_hold == "taps" or not step.nests:
                cycles = sum(systolic.gemm_cycles(gemm, array) for gemm in step.gemms)
            else:
                nests = [nest for nest in step.nests if nest.is_mac]
                cycles = sum(systolic.nest_cycles(nest, array) for nest in nests)
            return max(seconds, cycles / array.clock_hz * self._slowdown(rate))
        self.shapeless += array is not None
        return max(seconds, mac_seconds(step, compute, rate))

    def rate_of(self, step: Step) -> float:
        """MACs per second of a step's data type, at the peak."""
        dtype = step.mac_dtype
        if dtype not in self._rates:
            listed = self.target.compute.macs_per_s
            rate = listed_or_scaled(listed, step, self.target, self.notes, is_rate=True)
            self._rates[dtype] = rate
        return self._rates[dtype]

    def mac_utilisation(self, step: Step, compute_s: float) -> float | None:
        """The share of the peak rate at which a step multiplies; None where it does not.

        Args:
            step: the step.
            compute_s: its compute time in seconds.
        """
        if not step.macs or not compute_s:
            return None
        return step.macs / (compute_s * self.rate_of(step))

    def _slowdown(self, rate: float) -> float:
        """How much slower a data type is than the fastest."""
        return max(self.target.compute.macs_per_s.values()) / rate

    def _block_seconds(self, step: Step, compute: Compute) -> float:
        blocks = compute.mac_blocks
        if blocks is None:
            return 0.0
        slowdown = self._slowdown(self.rate_of(step)) if step.macs else 1.0
        cycles = sum(mac_blocks.nest_cycles(nest, blocks, slowdown) for nest in nests_of(step))
        return cycles / blocks.clock_hz

    def _kernel_seconds(self, step: Step, kernels: KernelCycles) -> float:
        macs, elements, slowdown = self._tables(step, kernels)
        cycles = sum(kernel_cycles.nest_cycles(nest, macs, elements) for nest in nests_of(step))
        return cycles * slowdown / kernels.clock_hz

    def _tables(
        self, step: Step, kernels: KernelCycles
    ) -> tuple[Mapping[str, float], Mapping[str, float], float]:
        """Cycles per MAC and per element of a step's data type, and a factor on both.

        A data type that is not listed has the kernels of the next wider one that is, or, where
        there is none, of the widest, slower in proportion to its width.
        """
        wanted = step.mac_dtype
        if wanted not in self._kernels:
            chosen, factor = wanted, 1.0
            if wanted not in kernels.macs:
                chosen = self._stand_in(step, kernels)
                factor = max(1.0, bits_of(wanted) / bits_of(chosen))
                slower = f" x {factor:g}" if factor > 1 else ""
                self.notes.append(
                    f"no {wanted} kernels on {self.target.name}: costed by {chosen}'s{slower}"
                )
            elements = kernels.elements.get(chosen, {})
            self._kernels[wanted] = kernels.macs[chosen], elements, factor
        return self._kernels[wanted]

    def _stand_in(self, step: Step, kernels: KernelCycles) -> str:
        """The data type by whose kernels another one is costed."""
        wanted = step.mac_dtype
        if wanted not in BITS or not kernels.macs:
            raise UsageError(
                f"{step.name} needs kernels for {wanted}, {self.target.name} lists"
                f" {', '.join(kernels.macs) or 'none'}; add them to the target's"
                " compute.kernel_cycles.macs",
                {"operator": step.name, "dtype": wanted, "target": self.target.name},
            )
        by_width = sorted(kernels.macs, key=lambda dtype: (bits_of(dtype), dtype))
        wider = (dtype for dtype in by_width if bits_of(dtype) >= bits_of(wanted))
        return next(wider, by_width[-1])
