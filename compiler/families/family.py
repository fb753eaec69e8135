"""A family: for every length of a symbolic dimension a plan, made of the decisions of a few.

Lengths are tested from the longest to the shortest. A length takes over the decisions of the plan
that is in use (`carry`) while that loses little against a plan made for that length alone, by the
same solver under the same limit; where it loses more, that plan is the next one in use. So plans
are made for the ends of buckets, and there are as few as decisions allow.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.driver.compile import compile_part
from ullage.compiler.driver.options import DEFAULT_SOLVER, WHOLE, CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.families.weights import shared_offsets, with_shared_weights
from ullage.compiler.ir.lengths.carry import carried
from ullage.compiler.ir.plan import Plan
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import value_of

# Most lengths that are tested where no step is named.
TESTED = 64
# Smallest step between tested lengths then.
STEP = 8


@dataclass(frozen=True)
class Lengths:
    """Which lengths of a symbolic dimension a family is for.

    Attributes:
        symbol: name of the dimension.
        tested: lengths with a verified plan, ascending; one in between runs as the next of them.
    """

    symbol: str
    tested: tuple[int, ...]


@dataclass(frozen=True)
class Bucket:
    """A plan and the lengths that take over its decisions.

    Attributes:
        compiled: the plan, made for the longest of them.
        first: the shortest.
        last: the longest.
    """

    compiled: Compiled
    first: int
    last: int


@dataclass(frozen=True)
class AtLength:
    """What a tested length comes to.

    Attributes:
        length: the length.
        bucket: index of its bucket.
        plan: the verified plan, of the decisions of that bucket.
        own_value: objective of the plan made for this length alone.
    """

    length: int
    bucket: int
    plan: Plan
    own_value: float

    @property
    def value(self) -> float:
        """Objective of the plan, in its unit."""
        return value_of(self.plan)

    @property
    def loss(self) -> float:
        """How much worse it is than the length's own plan, as a share."""
        return self.value / self.own_value - 1 if self.own_value > 0 else 0.0


@dataclass(frozen=True)
class Family:
    """Plans for all lengths.

    Attributes:
        symbol: name of the dimension.
        tolerance: share by which a length may be worse than with a plan of its own.
        buckets: from the shortest lengths to the longest.
        lengths: every tested one, ascending.
        total_s: seconds in all.
        interrupted: Ctrl-C ended it: the shortest lengths are missing.
    """

    symbol: str
    tolerance: float
    buckets: tuple[Bucket, ...]
    lengths: tuple[AtLength, ...]
    total_s: float
    interrupted: bool = False

    @property
    def worst_loss(self) -> float:
        """The largest loss of a tested length."""
        return max(at.loss for at in self.lengths)


def parse_lengths(symbol: str, text: str) -> Lengths:
    """Lengths from `FIRST..LAST` or `FIRST..LAST:STEP`.

    Tested are the multiples of the step, the first and the last length. Without a step it is the
    smallest power of 2 from `STEP` on with which no more than `TESTED` lengths are tested.

    Args:
        symbol: name of the dimension.
        text: the text.

    Raises:
        UsageError: it is no such range.
    """
    span, colon, step_text = text.partition(":")
    first_text, dots, last_text = span.partition("..")
    numbers = [first_text, last_text, *([step_text] if colon else [])]
    if not dots or not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(
            f"--dim {symbol} takes FIRST..LAST or FIRST..LAST:STEP with --family, not {text!r}"
        )
    first, last = int(first_text), int(last_text)
    if first > last:
        raise UsageError(f"--dim {symbol}={text}: the smaller length comes first")
    if first < 1 or last >= 2**31:
        raise UsageError(f"--dim {symbol}={text}: lengths go from 1 or more up to 2**31 - 1")
    step = int(step_text) if colon else STEP
    if step < 1:
        raise UsageError(f"--dim {symbol}={text}: the step is 1 or more")
    while not colon and (last - first) // step > TESTED:
        step *= 2
    multiples = range(-(-first // step) * step, last + 1, step)
    return Lengths(symbol, tuple(sorted({first, last, *multiples})))


def plan_family(model: Path, lengths: Lengths, tolerance: float, options: CompileOptions) -> Family:
    """Plans for all lengths of a symbolic dimension.

    Cost: a compilation for each tested length, and a verification of each.

    Args:
        model: the model.
        lengths: the dimension and its lengths.
        tolerance: share by which a length may be worse than with a plan of its own.
        options: how to compile; operators run whole. Its time limit is shared by all lengths.

    Raises:
        UsageError: an option makes no sense here, or the model has no such dimension.
        InfeasibleError: the longest length has no plan.
        TimeLimitError: time was over before it had one.
        KeyboardInterrupt: interrupted before it had one.
    """
    _check(lengths, tolerance, options)
    begun = time.monotonic()
    job_begun = begun if options.begun is None else options.begun
    chosen = replace(options, schedule=WHOLE, begun=job_begun)
    if options.solver == DEFAULT_SOLVER:  # what one plan may take is too much for many
        chosen = replace(chosen, parameters={"patience_s": 0.0, **options.parameters})
    waiting = sorted(lengths.tested, reverse=True)
    buckets: list[Bucket] = []
    found: list[AtLength] = []
    interrupted = False
    try:
        for number, length in enumerate(waiting):
            own = _own(model, lengths.symbol, length, chosen, 1 / (len(waiting) - number))
            at = _taking_over(buckets, own, length, tolerance)
            if at is None:
                buckets.append(Bucket(own, length, length))
                at = AtLength(length, len(buckets) - 1, own.plan, own.value)
            else:
                buckets[-1] = replace(buckets[-1], first=length)
            found.append(at)
            options.progress(_told(lengths.symbol, at, number + 1, len(waiting)))
            if own.interrupted:
                interrupted = True
                break
    except KeyboardInterrupt:
        if not found:
            raise
        interrupted = True
    return _with_shared_weights(
        Family(
            lengths.symbol,
            tolerance,
            tuple(reversed(buckets)),
            tuple(replace(at, bucket=len(buckets) - 1 - at.bucket) for at in reversed(found)),
            time.monotonic() - begun,
            interrupted,
        )
    )


def _check(lengths: Lengths, tolerance: float, options: CompileOptions) -> None:
    if not 0 <= tolerance < float("inf"):
        raise UsageError(f"--family takes a share of at least 0 (5%, 0.05), not {tolerance}")
    if options.steady_state:
        raise UsageError(
            "--family is for inferences of any length, one by one; in steady state weights stay "
            "where one plan left them: leave --steady-state out"
        )
    if options.states:
        raise UsageError(
            "the plans of a --family do not have states at one address: leave --state out, or plan "
            "for the largest length alone (`ullage run --inferences` carries it out at others)"
        )
    if options.minimised == "peak":
        raise UsageError(
            "--family plans for the memory that there is: ask for --objective latency, traffic or "
            "energy"
        )
    if options.schedule not in (None, WHOLE):
        raise UsageError("--family plans whole operators: leave --schedule out")
    for name, value in (("--then", options.then), ("--slower-by", options.slower_by)):
        if value is not None:
            raise UsageError(f"--family has one objective: leave {name} out")
    if lengths.symbol in options.dims:
        raise UsageError(f"--dim {lengths.symbol} is given twice")


def _own(model: Path, symbol: str, length: int, options: CompileOptions, share: float) -> Compiled:
    """The plan made for one length alone.

    Args:
        model: the model.
        symbol: name of the dimension.
        length: the length.
        options: how to compile, with the time of all lengths.
        share: of the time left after reading that this one is planned in.

    Raises:
        InfeasibleError: it has none; says for which length.
        TimeLimitError: time was over; likewise.
    """
    dims = {**options.dims, symbol: length}
    try:
        return compile_part(model, replace(options, dims=dims), share, quick_bound=False)
    except (InfeasibleError, TimeLimitError) as error:
        raise type(error)(f"{symbol} = {length}: {error.message}", error.details) from error


def _taking_over(
    buckets: list[Bucket], own: Compiled, length: int, tolerance: float
) -> AtLength | None:
    """The length with the decisions of the plan in use; None where they are illegal or too bad."""
    if not buckets:
        return None
    plan = carried(buckets[-1].compiled.plan, own.plan.problem)
    if plan is None or find_violations(plan, limit=1):
        return None
    plan = replace(plan, model=own.plan.model, notes=())
    at = AtLength(length, len(buckets) - 1, plan, own.value)
    return at if at.loss <= tolerance else None


def _told(symbol: str, at: AtLength, done: int, total: int) -> str:
    return f"{done} of {total}: {symbol} = {at.length}, {100 * at.loss:.2f} % above its own plan"


def _with_shared_weights(family: Family) -> Family:
    """The family with each weight at one address of its home, in all plans.

    Raises:
        InfeasibleError: the home tier has no room for that.
    """
    offsets = shared_offsets([bucket.compiled.plan for bucket in family.buckets])

    def moved(plan: Plan) -> Plan:
        placed = with_shared_weights(plan, offsets)
        faults = find_violations(placed, limit=1)
        if faults:
            raise InfeasibleError(
                f"one placement of weights for all lengths does not fit: {faults[0].message}; "
                "give the home tier more room, or --family a larger tolerance"
            )
        return placed

    buckets = tuple(
        replace(bucket, compiled=replace(bucket.compiled, plan=moved(bucket.compiled.plan)))
        for bucket in family.buckets
    )
    lengths = tuple(replace(at, plan=moved(at.plan)) for at in family.lengths)
    return replace(family, buckets=buckets, lengths=lengths)
