"""Decode steps of OPT models from their published shapes, through the builder API."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

# Bytes of an element: float16.
ELEMENT = 2


@dataclass(frozen=True)
class Opt:
    """Shapes of an OPT model (Zhang et al. 2022, table 1; vocabulary and positions of its release).

    Attributes:
        name: of the model.
        layers: decoder layers.
        hidden: elements of a token's vector.
        inner: elements between the two layers of the feed-forward part.
        vocabulary: tokens.
        positions: rows of the table of positions.
    """

    name: str
    layers: int
    hidden: int
    inner: int
    vocabulary: int = 50272
    positions: int = 2050


OPT_6_7B = Opt("opt-6.7b", 32, 4096, 16384)
OPT_30B = Opt("opt-30b", 48, 7168, 28672)
OPT_175B = Opt("opt-175b", 96, 12288, 49152)


@dataclass
class _Lists:
    """Tensors and operators so far."""

    batch: int
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Op] = field(default_factory=list)

    def add(self, name: str, elements: int, kind: TensorKind = "activation") -> str:
        self.tensors.append(Tensor(name, ELEMENT * elements, kind))
        return name

    def norm(self, name: str, x: str, width: int) -> str:
        """A layer norm, with scale and bias."""
        weights = [self.add(f"{name}.{part}", width, "weight") for part in ("scale", "bias")]
        y = self.add(name, self.batch * width)
        elements = self.batch * width
        self.operators.append(Op(name, [x, *weights], [y], vector_elements=elements))
        return y

    def product(
        self,
        name: str,
        x: str,
        sizes: tuple[int, int],
        others: Sequence[str] = (),
        kind: TensorKind = "activation",
    ) -> str:
        """The tokens' vectors times a weight of `sizes`: elements of an input, and of a result."""
        weight = self.add(f"{name}.weight", sizes[0] * sizes[1], "weight")
        y = self.add(name, self.batch * sizes[1], kind)
        self.multiply(name, [x, weight, *others], [y], sizes)
        return y

    def multiply(
        self, name: str, reads: Sequence[str], writes: Sequence[str], sizes: tuple[int, int]
    ) -> None:
        self.operators.append(
            Op(
                name,
                reads,
                writes,
                macs=self.batch * sizes[0] * sizes[1],
                dtype="float16",
                gemms=[(self.batch, *sizes)],
            )
        )


def token_step(model: Opt, target: Target, past: int, *, steady_state: bool) -> Problem:
    """One token of one sequence, every tensor of the released model by itself, in float16.

    The token's row of the table arrives as the input; the table is the last product's weight, too.
    The table of positions is read whole, as a program does that loads the model.

    Args:
        model: shapes.
        target: the chip.
        past: tokens in the caches of keys and values.
        steady_state: tokens follow one another, and weights may stay.
    """
    lists, width = _Lists(1), model.hidden
    row = lists.add("token", width, "input")
    table = lists.add("positions", model.positions * width, "weight")
    x = lists.add("embedded", width)
    lists.operators.append(Op("embed", [row, table], [x], vector_elements=width))
    for layer in range(model.layers):
        n = f"layer{layer}"
        y = lists.norm(f"{n}.norm1", x, width)
        parts = [_linear(lists, f"{n}.{part}", y, (width, width)) for part in "qkv"]
        caches = [lists.add(f"{n}.cache_{part}", past * width, "input") for part in "kv"]
        y = lists.add(f"{n}.attention", width)
        macs = 2 * past * width
        lists.operators.append(Op(y, [*parts, *caches], [y], macs=macs, dtype="float16"))
        x = _linear(lists, f"{n}.out", y, (width, width), [x])
        y = lists.norm(f"{n}.norm2", x, width)
        y = _linear(lists, f"{n}.fc1", y, (width, model.inner))
        x = _linear(lists, f"{n}.fc2", y, (model.inner, width), [x])
    x = lists.norm("norm", x, width)
    lists.product("logits", x, (width, model.vocabulary), kind="output")
    return _problem(model.name, lists, target, steady_state=steady_state)


def block_step(model: Opt, target: Target, batch: int, past: int) -> Problem:
    """One token of each sequence of a block, layer by layer, in float16, in steady state.

    What FlexGen's cost model counts: matrices of the layers (no biases, norms and ends), one cache
    of keys and values for each layer, their new rows, and what goes from layer to layer.

    Args:
        model: shapes.
        target: the machine.
        batch: sequences of the block.
        past: tokens in the caches.
    """
    lists, width = _Lists(batch), model.hidden
    x = lists.add("hidden", batch * width, "input")
    for layer in range(model.layers):
        n = f"layer{layer}"
        cache = lists.add(f"{n}.cache", 2 * batch * past * width, "input")
        weight = lists.add(f"{n}.qkv.weight", 3 * width * width, "weight")
        query = lists.add(f"{n}.query", batch * width)
        rows = lists.add(f"{n}.rows", 2 * batch * width, "output")
        lists.multiply(f"{n}.qkv", [x, weight], [query, rows], (width, 3 * width))
        y = lists.add(f"{n}.attention", batch * width)
        macs = 2 * batch * past * width
        lists.operators.append(Op(y, [query, rows, cache], [y], macs=macs, dtype="float16"))
        x = lists.product(f"{n}.out", y, (width, width), [x])
        y = lists.product(f"{n}.fc1", x, (width, model.inner))
        last = layer == model.layers - 1
        kind: TensorKind = "output" if last else "activation"
        x = lists.product(f"{n}.fc2", y, (model.inner, width), [x], kind)
    return _problem(model.name, lists, target, steady_state=True)


def _linear(
    lists: _Lists, name: str, x: str, sizes: tuple[int, int], others: Sequence[str] = ()
) -> str:
    """A product with a bias."""
    return lists.product(name, x, sizes, [lists.add(f"{name}.bias", sizes[1], "weight"), *others])


def _problem(name: str, lists: _Lists, target: Target, *, steady_state: bool) -> Problem:
    problem = problem_from_lists(name, lists.tensors, lists.operators, target)
    return replace(problem, program=replace(problem.program, steady_state=steady_state))
