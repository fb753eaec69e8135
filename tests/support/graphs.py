"""Random small graphs with every kind of sharing, and problems made from them."""

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from ullage.compiler.ir.graph import Graph, Kind, Operator, Sharing, Value

ROW_BYTES = 8  # parts begin at multiples of it, so some are aligned to 16 bytes and some are not


class Builder:
    """A graph in the making; every method adds one operator and returns its outputs' names."""

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.values: dict[str, Value] = {}
        self.operators: list[Operator] = []

    def value(self, name: str, size_bytes: int, kind: Kind = "activation") -> str:
        """Add a value: rows of `ROW_BYTES` int8 elements where its size allows."""
        rows, rest = divmod(size_bytes, ROW_BYTES)
        shape = (rows, ROW_BYTES) if rows and not rest else (size_bytes,)
        self.values[name] = Value(name, kind, "int8", shape, size_bytes)
        return name

    def size(self, name: str) -> int:
        """Bytes of a value."""
        return self.values[name].size_bytes

    def op(
        self,
        inputs: Sequence[str],
        outputs: Sequence[tuple[str, int]],
        *,
        kind: str = "Conv",
        sharings: Sequence[Sharing] = (),
        workspace_bytes: int = 0,
        accessed: Sequence[tuple[str, int]] = (),
        macs: int = 0,
    ) -> str:
        """Any operator; outputs are (name, bytes)."""
        for name, size in outputs:
            self.value(name, size)
        number = len(self.operators)
        self.operators.append(
            Operator(
                name=f"{kind}{number}",
                kind=kind,
                inputs=tuple(dict.fromkeys(inputs)),
                outputs=tuple(name for name, _ in outputs),
                macs=macs,
                mac_dtype="int8",
                vector_elements=sum(size for _, size in outputs),
                workspace_bytes=workspace_bytes,
                accessed_bytes=tuple(accessed),
                sharings=tuple(sharings),
                nodes=(number,),
            )
        )
        return outputs[0][0]

    def view(self, source: str, name: str) -> str:
        """A reshape."""
        sharing = Sharing("view", name, source)
        return self.op([source], [(name, self.size(source))], kind="Reshape", sharings=[sharing])

    def relu(self, source: str, name: str) -> str:
        """An element-wise operator of one input."""
        sharing = Sharing("in_place", name, source)
        return self.op([source], [(name, self.size(source))], kind="Relu", sharings=[sharing])

    def add(self, first: str, second: str, name: str) -> str:
        """An element-wise operator of two inputs of one size."""
        both = dict.fromkeys((first, second))
        sharings = [Sharing("in_place", name, source) for source in both]
        return self.op([*both], [(name, self.size(first))], kind="Add", sharings=sharings)

    def concat(self, parts: Sequence[str], name: str, constant_bytes: int = 0) -> str:
        """Parts one after the other, then a constant that is no value of the graph.

        A part that comes twice has no sharing: the operator copies it.
        """
        at, sharings = 0, []
        for part in parts:
            if parts.count(part) == 1:
                sharings.append(Sharing("concat", name, part, at))
            at += self.size(part)
        size = at + constant_bytes
        return self.op(parts, [(name, size)], kind="Concat", sharings=sharings)

    def split(self, whole: str, parts: Sequence[tuple[str, int]]) -> list[str]:
        """Consecutive parts of a value, from its beginning; the sum may be less than the whole."""
        at, sharings = 0, []
        for name, size in parts:
            sharings.append(Sharing("split", name, whole, at))
            at += size
        self.op([whole], parts, kind="Split", sharings=sharings)
        return [name for name, _ in parts]

    def graph(self, outputs: Sequence[str]) -> Graph:
        """The finished graph."""
        values = {
            name: Value(name, "output", v.dtype, v.shape, v.size_bytes)
            if name in outputs and v.kind == "activation"
            else v
            for name, v in self.values.items()
        }
        inputs = tuple(name for name, v in values.items() if v.kind == "input")
        return Graph(self.name, values, tuple(self.operators), inputs, tuple(outputs))


def random_graph(rng: Random, operators: int = 9) -> Graph:
    """A small graph in which anything that importers produce may occur."""
    build = Builder("random")
    for i in range(rng.randint(1, 2)):
        build.value(f"x{i}", _size(rng), "input")
    alive = list(build.values)
    weights: list[str] = []
    for i in range(rng.randint(1, operators)):
        alive += _random_operator(build, rng, i, alive, weights)
    made = [n for n, v in build.values.items() if v.kind == "activation"]
    read = {name for operator in build.operators for name in operator.inputs}
    outputs = [n for n in made if rng.random() < (0.1 if n in read else 0.7)] or made[-1:]
    if rng.random() < 0.15:
        outputs.append("x0")
    return build.graph(outputs)


def _size(rng: Random) -> int:
    return 0 if rng.random() < 0.04 else ROW_BYTES * rng.choice((1, 2, 2, 4, 4, 6, 8, 12))


def _random_operator(
    build: Builder, rng: Random, i: int, alive: list[str], weights: list[str]
) -> list[str]:
    """Add an operator on values alive; returns the names of its outputs."""
    name = f"v{i}"
    source = rng.choice(alive[-4:] if rng.random() < 0.7 else alive)
    kind = rng.choice(("conv", "conv", "relu", "add", "add", "view", "concat", "split", "pair"))
    same = [n for n in alive if build.size(n) == build.size(source)]
    if kind == "relu":
        return [build.relu(source, name)]
    if kind == "add":
        return [build.add(source, rng.choice(same), name)]
    if kind == "view":
        return [build.view(source, name)]
    if kind == "concat":
        parts = [source, *(rng.choice(alive) for _ in range(rng.randint(1, 2)))]
        constant = ROW_BYTES * 2 if rng.random() < 0.15 else 0
        return [build.concat(parts, name, constant)]
    if kind == "split" and build.size(source) >= 2 * ROW_BYTES:
        rows = build.size(source) // ROW_BYTES
        first = rng.randint(1, rows - 1) * ROW_BYTES
        rest = build.size(source) - first
        return build.split(source, [(f"{name}a", first), (f"{name}b", rest)])
    inputs = [source, rng.choice(alive)] if rng.random() < 0.4 else [source]
    accessed: list[tuple[str, int]] = []
    if rng.random() < 0.5:
        if not weights or rng.random() < 0.7:
            weights.append(build.value(f"w{i}", _size(rng), "weight"))
        weight = rng.choice(weights)
        inputs.append(weight)
        if build.size(weight) and rng.random() < 0.3:
            accessed.append((weight, rng.randint(1, build.size(weight))))
    outputs = [(name, _size(rng))] if kind != "pair" else [(f"{name}a", _size(rng)), (name, 16)]
    scratch = rng.choice((0, 0, 0, 16, 40))
    macs = rng.choice((0, 200, 5000))
    build.op(inputs, outputs, workspace_bytes=scratch, accessed=accessed, macs=macs)
    return [output for output, _ in outputs]


def random_order(graph: Graph, rng: Random) -> tuple[int, ...]:
    """A random topological order."""
    maker = {name: i for i, o in enumerate(graph.operators) for name in o.outputs}
    before = [{maker[n] for n in o.inputs if n in maker} for o in graph.operators]
    done: list[int] = []
    left = list(range(len(before)))
    while left:
        ready = [i for i in left if before[i] <= set(done)]
        chosen = rng.choice(ready)
        left.remove(chosen)
        done.append(chosen)
    return tuple(done)


def all_orders(graph: Graph) -> list[tuple[int, ...]]:
    """Every topological order; for graphs of a few operators."""
    maker = {name: i for i, o in enumerate(graph.operators) for name in o.outputs}
    before = [{maker[n] for n in o.inputs if n in maker} for o in graph.operators]
    found: list[tuple[int, ...]] = []

    def extend(done: tuple[int, ...]) -> None:
        if len(done) == len(before):
            found.append(done)
        for i in range(len(before)):
            if i not in done and before[i] <= set(done):
                extend((*done, i))

    extend(())
    return found


seeds = st.integers(0, 2**32 - 1)


@st.composite
def graphs(draw: st.DrawFn, operators: int = 9) -> Graph:
    """Random graphs, shrinkable."""
    return random_graph(draw(st.randoms(use_true_random=False)), operators)
