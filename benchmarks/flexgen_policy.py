"""A policy of FlexGen (arXiv 2303.06865) as a plan, and what its own cost model says of it.

A policy has shares: of weights, caches and activations that are in GPU memory, in host memory and
on the drive. Its runtime goes through a block layer by layer, and beside a layer loads what the
next one needs:

    layer        0            1            2
    weights  cpu->gpu of 1    of 2         of 3        (the share that is not in GPU memory)
            disk->cpu of 2    of 3         of 4        (the share on the drive)
    cache   disk->cpu of 1    of 2         of 3        (where caches are on the drive)

The first layers' weights come beside the last layers of the token before. Bytes move beside
products as long as those take and beside the attention for the rest, so that the plan is the
fastest that the cost model allows for this policy.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from opt_steps import ELEMENT, Opt

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.fluid.refill.pieces import aligned

GB, T = float(1 << 30), 1e12
# Constants of its cost model (experimental/cost_model.py): bytes/s, flops.
CTOG, GTOC_HIDDEN, DTOC, CTOD = 12.89 * GB, 4.82 * GB, 0.473 * GB, 2.015 * GB
MM_FLOPS, BMM_FLOPS, CPU_FLOPS = 4.3 * T, 0.079 * T, 0.0123 * T


@dataclass(frozen=True)
class Policy:
    """Where things are, in shares of their bytes; what is in no share is on the drive.

    Attributes:
        weights_gpu: share of the weights in GPU memory.
        weights_cpu: share in host memory.
        cache_cpu: share of the caches in host memory: 1 or 0.
        batch: sequences of a block.
    """

    weights_gpu: float
    weights_cpu: float
    cache_cpu: float
    batch: int


def own_estimate(model: Opt, policy: Policy, past: float) -> float:
    """Seconds of a token of a block by FlexGen's cost model (`Tgen * l`).

    Its factor of the CPU's rate for small batches is left out (1.4 % at batch 48, 3.3 % at 32).
    """
    h, b = model.hidden, policy.batch
    weights = ELEMENT * (4 * h * h + 2 * h * model.inner)
    cache, hidden = 2 * ELEMENT * b * past * h, ELEMENT * b * h
    on_disk = 1 - policy.weights_gpu - policy.weights_cpu
    ctog = (weights * (1 - policy.weights_gpu) + hidden) / CTOG
    gtoc = hidden / GTOC_HIDDEN
    dtoc = cache * (1 - policy.cache_cpu) / DTOC + weights * on_disk / (0.95 * DTOC)
    ctod = 2 * ELEMENT * b * h * (1 - policy.cache_cpu) / CTOD
    compute = b * weights / MM_FLOPS + cache / CPU_FLOPS
    return model.layers * (ctog + max(gtoc, dtoc, ctod, compute))


PRODUCTS = ("qkv", "out", "fc1", "fc2")
# Layers whose weights or caches are side by side in transient memory: this one and the next one.
SLOTS = 2


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        problem: of `opt_steps.block_step`.
        steps: step of each operator, by name.
        buffers: number of each buffer, by name.
        residencies: so far.
        transfers: so far.
        resident_bytes: by tier, what lies there from token to token.
        transient_bytes: by tier, the regions that layers take turns in.
        idle_s: by link and step, seconds of a product beside which the link does nothing yet.
    """

    problem: Problem
    residencies: list[Residency] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    resident_bytes: dict[str, int] = field(default_factory=dict)
    transient_bytes: dict[str, int] = field(default_factory=dict)
    idle_s: dict[tuple[str, int], float] = field(default_factory=dict)
    _regions: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the steps and buffers."""
        program = self.problem.program
        self.steps = {step.name: index for index, step in enumerate(program.steps)}
        self.buffers = {buffer.name: index for index, buffer in enumerate(program.buffers)}
        named = self.steps.items()
        self.attentions = {t for name, t in named if re.fullmatch(r"layer\d+\.attention", name)}
        self.seconds = compute_seconds(self.problem)[0]
        self.end = len(program.steps)

    def size(self, name: str) -> int:
        """Bytes of a buffer."""
        return self.problem.program.buffers[self.buffers[name]].size_bytes

    def region(self, tier: str, what: str, size: int, *, resident: bool = False) -> int:
        """The address of a region of a tier, the same one whenever it is asked for.

        Offsets of resident regions count from 0, those of the others from behind them
        (`at_addresses`).
        """
        taken = self.resident_bytes if resident else self.transient_bytes
        if (tier, what) not in self._regions:
            self._regions[tier, what] = taken.get(tier, 0)
            taken[tier] = taken.get(tier, 0) + aligned(size, self.problem.target.tier(tier))
        offset = self._regions[tier, what]
        return offset if resident else -1 - offset

    def keep(self, name: str, part: tuple[int, int], tier: str) -> None:
        """Bytes of a buffer lie in a tier during all steps."""
        if part[0] < part[1]:
            offset = self.region(tier, f"{name} {part}", part[1] - part[0], resident=True)
            self.put(name, part, tier, offset, (0, 0, self.end))

    def put(
        self, name: str, part: tuple[int, int], tier: str, offset: int, span: tuple[int, int, int]
    ) -> None:
        """Bytes of a buffer lie in a tier: `span` is start, ready and end."""
        self.residencies.append(Residency(self.buffers[name], *part, tier, offset, *span))

    def move(
        self, name: str, part: tuple[int, int], tiers: tuple[str, str], window: Sequence[int]
    ) -> tuple[int, int]:
        """Move bytes during some steps: beside products first, the rest beside the attention.

        Args:
            name: of the buffer.
            part: its bytes.
            tiers: source and destination.
            window: steps, ascending.

        Returns:
            The first step and the one behind the last.
        """
        source, destination = tiers
        link = f"{source}->{destination}"
        target = self.problem.target
        rate = min(
            next(li.bandwidth_bytes_per_s for li in target.links if li.name == link),
            target.tier(source).read_bytes_per_s,
        )
        left, moved = part[1] - part[0], {}
        slack = next((t for t in window if t in self.attentions), window[0])
        for step in window:
            if step != slack:
                idle = self.idle_s.setdefault((link, step), float(self.seconds[step]))
                moved[step] = min(left, int(idle * rate))
                self.idle_s[link, step] -= moved[step] / rate
                left -= moved[step]
        moved[slack] = left
        moves = tuple((step, size) for step, size in sorted(moved.items()) if size)
        self.transfers.append(Transfer(self.buffers[name], *part, source, destination, moves))
        return moves[0][0], moves[-1][0] + 1

    def hold(
        self,
        name: str,
        part: tuple[int, int],
        place: tuple[str, int],
        arrival: tuple[int, int],
        end: int,
    ) -> None:
        """What arrives in some steps stays until `end`: of the next token where that is earlier."""
        first, ready = arrival
        if end > first:
            self.put(name, part, *place, (first, ready, end))
        else:
            self.put(name, part, *place, (first, ready, self.end))
            self.put(name, part, *place, (0, 0, end))

    def assignment(self) -> Assignment:
        """The plan, with transient regions behind what is resident."""

        def address(residency: Residency) -> int:
            at = residency.offset
            return at if at >= 0 else self.resident_bytes.get(residency.tier, 0) - 1 - at

        placed = [replace(r, offset=address(r)) for r in self.residencies]
        ordered = sorted(placed, key=lambda r: (r.buffer, r.start_byte, r.start))
        moving = sorted(self.transfers, key=lambda t: t.moves[0])
        return Assignment(self.problem, tuple(ordered), tuple(moving))


def draft_of(problem: Problem, policy: Policy) -> Draft:
    """The plan of a policy.

    Args:
        problem: of `opt_steps.block_step`; an even number of layers, at least 4.
        policy: the shares.
    """
    draft = Draft(problem)
    layers = sum(name.startswith("layer") and name.endswith(".qkv") for name in draft.steps)
    for layer in range(layers):
        for which in PRODUCTS:
            _weight(draft, policy, layer, which, layers)
        _cache(draft, policy, layer)
        _results(draft, layer)
    _hidden(draft, layers)
    return draft


def _window(draft: Draft, layer: int) -> range:
    """The steps of a layer."""
    return range(draft.steps[f"layer{layer}.qkv"], draft.steps[f"layer{layer}.fc2"] + 1)


def _weight(draft: Draft, policy: Policy, layer: int, which: str, layers: int) -> None:
    name = f"layer{layer}.{which}.weight"
    size = draft.size(name)
    unit = draft.problem.target.slice_granularity_bytes
    near = round(policy.weights_gpu * size / unit) * unit
    middle = near + round(policy.weights_cpu * size / unit) * unit
    if policy.weights_gpu + policy.weights_cpu >= 1:
        middle = size
    draft.keep(name, (0, size), "disk")
    draft.keep(name, (0, near), "gpu")
    draft.keep(name, (near, middle), "cpu")
    slot, end = f"{which} {layer % SLOTS}", draft.steps[f"layer{layer}.{which}"] + 1
    place = draft.region("gpu", slot, size - near)
    before = _window(draft, (layer - 1) % layers)
    if near < middle:
        arrival = draft.move(name, (near, middle), ("cpu", "gpu"), before)
        draft.hold(name, (near, middle), ("gpu", place), arrival, end)
    if middle < size:
        part = (middle, size)
        came = draft.move(name, part, ("disk", "cpu"), _window(draft, (layer - 2) % layers))
        arrival = draft.move(name, part, ("cpu", "gpu"), before)
        staged = draft.region("cpu", slot, size - middle)
        draft.hold(name, part, ("cpu", staged), came, arrival[1])
        draft.hold(name, part, ("gpu", place - (middle - near)), arrival, end)


def _cache(draft: Draft, policy: Policy, layer: int) -> None:
    name = f"layer{layer}.cache"
    part = (0, draft.size(name))
    draft.keep(name, part, draft.problem.target.home("input").name)
    if policy.cache_cpu == 0:
        window = _window(draft, layer - 1) if layer else range(1)
        arrival = draft.move(name, part, ("disk", "cpu"), window)
        place = draft.region("cpu", f"cache {layer % SLOTS}", part[1])
        draft.hold(name, part, ("cpu", place), arrival, draft.steps[f"layer{layer}.attention"] + 1)


def _results(draft: Draft, layer: int) -> None:
    """What the operators of a layer make: new rows of the cache go home, the rest is on the GPU."""
    n = f"layer{layer}"
    lives = {"query": ("qkv", "attention"), "attention": ("attention", "out")}
    lives |= {"out": ("out", "fc2"), "fc1": ("fc1", "fc2")}
    for what, (made, read) in lives.items():
        part = (0, draft.size(f"{n}.{what}"))
        made_at = draft.steps[f"{n}.{made}"]
        place = draft.region("gpu", what, part[1])
        draft.put(
            f"{n}.{what}", part, "gpu", place, (made_at, made_at, draft.steps[f"{n}.{read}"] + 1)
        )
    _send_home(draft, f"{n}.rows", draft.steps[f"{n}.qkv"], draft.steps[f"{n}.attention"])


def _hidden(draft: Draft, layers: int) -> None:
    """What goes from layer to layer is in host memory: operators write and read it there."""
    part = (0, draft.size("hidden"))
    home = draft.problem.target.home("input").name
    last_read = draft.steps["layer0.out"] + 1
    place = draft.region("cpu", "hidden 1", part[1])
    if home == "cpu":
        draft.put("hidden", part, "cpu", place, (0, 0, last_read))
    else:
        draft.keep("hidden", part, home)
        arrival = draft.move("hidden", part, (home, "cpu"), range(1))
        draft.hold("hidden", part, ("cpu", place), arrival, last_read)
    for layer in range(layers - 1):
        made = draft.steps[f"layer{layer}.fc2"]
        end = draft.steps[f"layer{layer + 1}.out"] + 1
        place = draft.region("cpu", f"hidden {layer % SLOTS}", part[1])
        draft.put(f"layer{layer}.fc2", part, "cpu", place, (made, made, end))
    made = draft.steps[f"layer{layers - 1}.fc2"]
    _send_home(draft, f"layer{layers - 1}.fc2", made, draft.end - 1)


def _send_home(draft: Draft, name: str, made: int, store: int) -> None:
    """An output is written into host memory, and stored in a later step if it is not at home."""
    part = (0, draft.size(name))
    home = draft.problem.target.home("output").name
    if home == "cpu":
        offset = draft.region("cpu", name, part[1], resident=True)
        draft.put(name, part, "cpu", offset, (made, made, draft.end))
    else:
        offset = draft.region("cpu", f"stored {name.split('.')[1]}", part[1])
        draft.put(name, part, "cpu", offset, (made, made, store + 1))
        arrival = draft.move(name, part, ("cpu", home), range(store, store + 1))
        offset = draft.region(home, name, part[1], resident=True)
        draft.put(name, part, home, offset, (*arrival, draft.end))
