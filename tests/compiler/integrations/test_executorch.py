"""ExecuTorch's algorithm contract, against stand-ins and, where it is installed, the real package.

The real one runs where `executorch` can be imported: pip install '.[executorch]'.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.integrations.executorch import ullage_packing


@dataclass(eq=False)
class Spec:
    """What of a `TensorSpec` planners use: hashed by identity, as the real one."""

    nbytes: int
    lifetime: list[Any]
    mem_id: int | None = None
    storage_base: "Spec | None" = None
    storage_base_offset: int = 0
    alignment: int = 1

    @property
    def allocated_memory(self) -> int:
        """Size rounded up to the alignment."""
        return -(-self.nbytes // self.alignment) * self.alignment

    def realign(self, alignment: int) -> int:
        """Set the alignment."""
        self.alignment = alignment
        return self.allocated_memory


@dataclass
class SpecAllocResult:
    """As ExecuTorch's."""

    mem_id: int
    mem_obj_id: int
    mem_offset: int


@dataclass
class MemoryAlgoResult:
    """As ExecuTorch's."""

    spec_dict: dict[Spec, SpecAllocResult] = field(default_factory=dict)
    bufsizes: list[int] = field(default_factory=list)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`executorch.exir.memory_planning` with the two result types."""
    inner = ModuleType("executorch.exir.memory_planning")
    inner.SpecAllocResult = SpecAllocResult  # type: ignore[attr-defined]
    inner.MemoryAlgoResult = MemoryAlgoResult  # type: ignore[attr-defined]
    exir = ModuleType("executorch.exir")
    exir.memory_planning = inner  # type: ignore[attr-defined]
    for name, module in (
        ("executorch", ModuleType("executorch")),
        ("executorch.exir", exir),
        ("executorch.exir.memory_planning", inner),
    ):
        monkeypatch.setitem(sys.modules, name, module)


def graph(specs: Sequence[Spec], taken: list[int] | None = None) -> Any:
    nodes = [SimpleNamespace(meta={"spec": spec}) for spec in specs]
    nodes += [SimpleNamespace(meta={"spec": list(specs)}), SimpleNamespace(meta={})]
    made = SimpleNamespace(graph=SimpleNamespace(nodes=nodes))
    if taken is not None:
        made.input_mem_buffer_sizes = taken
    return made


def check(result: MemoryAlgoResult, specs: Sequence[Spec], alignment: int) -> None:
    """The rules of ExecuTorch's verifier, and sizes that hold everything."""
    rows = result.spec_dict
    assert set(rows) == set(specs)
    for spec in specs:
        assert rows[spec].mem_offset % alignment == 0
        end = rows[spec].mem_offset + spec.allocated_memory
        assert end <= result.bufsizes[rows[spec].mem_id]
    for a, b in combinations(specs, 2):
        x, y = rows[a], rows[b]
        overlap = (
            x.mem_id == y.mem_id
            and x.mem_offset < y.mem_offset + b.allocated_memory
            and y.mem_offset < x.mem_offset + a.allocated_memory
        )
        if not overlap:
            continue
        together = a.lifetime[0] <= b.lifetime[1] and b.lifetime[0] <= a.lifetime[1]
        assert not together or a.storage_base is b or b.storage_base is a
        assert x.mem_obj_id == y.mem_obj_id


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("seed", range(8))
def test_random_specs_are_packed_legally(seed: int) -> None:
    draw = random.Random(seed)
    specs = []
    for _ in range(40):
        start = draw.randrange(20)
        live_range = [start, start + draw.randrange(6)]
        specs.append(Spec(draw.randrange(1, 300), live_range, draw.choice([None, 1, 3])))
    result = ullage_packing(16, set(specs), graph(specs), None, 5)
    check(result, specs, 16)
    assert len(result.bufsizes) == 4
    assert result.bufsizes[0] == result.bufsizes[2] == 0
    again = ullage_packing(16, list(reversed(specs)), graph(specs), None, 5)
    assert again == result


@pytest.mark.usefixtures("stand_in")
def test_storage_is_reused_and_padded() -> None:
    a, b, c = Spec(100, [0, 1]), Spec(60, [1, 2]), Spec(100, [2, 3])
    result = ullage_packing(4, {a, b, c}, graph([a, b, c]), None, 7)
    assert result.bufsizes == [0, 160 + 7]
    assert result.spec_dict[a].mem_offset == result.spec_dict[c].mem_offset
    assert result.spec_dict[a].mem_id == 1


@pytest.mark.usefixtures("stand_in")
def test_memory_taken_before_is_left_alone() -> None:
    a = Spec(10, [0, 1])
    result = ullage_packing(8, {a}, graph([a], [0, 13]), None)
    assert result.spec_dict[a].mem_offset == 16
    assert result.bufsizes == [0, 32]


@pytest.mark.usefixtures("stand_in")
def test_a_spec_inside_another_live_ranges_in_its_storage() -> None:
    base, part = Spec(64, [0, 1]), Spec(16, [2, 5])
    part.storage_base, part.storage_base_offset = base, 32
    other = Spec(64, [3, 4])  # does not overlap base, but does the part
    result = ullage_packing(16, {base, part, other}, graph([base, part, other]), None)
    rows = result.spec_dict
    assert rows[part].mem_offset == rows[base].mem_offset + 32
    assert abs(rows[other].mem_offset - rows[base].mem_offset) >= 64
    check(result, [base, part, other], 16)


@pytest.mark.usefixtures("stand_in")
def test_nothing_to_plan() -> None:
    assert ullage_packing(16, set(), graph([]), None).bufsizes == [0, 0]


@pytest.mark.usefixtures("stand_in")
def test_a_proof_may_be_asked_for() -> None:
    specs = [Spec(s, [i, i + 2]) for i, s in enumerate([64, 96, 32, 80, 48, 64])]
    result = partial(ullage_packing, proof_s=1.0)(16, set(specs), graph(specs), None, 0)
    check(result, specs, 16)


@pytest.mark.usefixtures("stand_in")
def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="no lifetime"):
        ullage_packing(16, {Spec(4, [None, None])}, graph([]), None)
    a, b = Spec(16, [0, 1]), Spec(16, [0, 1])
    a.storage_base = b
    with pytest.raises(UsageError, match="not planned with it"):
        ullage_packing(16, {a}, graph([a]), None)
    b.storage_base = a
    with pytest.raises(UsageError, match="in a circle"):
        ullage_packing(16, {a, b}, graph([a, b]), None)
    b.storage_base, a.storage_base_offset = None, 16
    with pytest.raises(UsageError, match="needs 16 bytes there"):
        ullage_packing(16, {a, b}, graph([a, b]), None)


def test_without_executorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    with pytest.raises(UsageError, match=r"ullage\[executorch\]"):
        ullage_packing(16, set(), graph([]), None)


@pytest.mark.filterwarnings("default")
def test_the_real_package_accepts_it() -> None:
    torch = pytest.importorskip("torch")
    planning = pytest.importorskip("executorch.exir.memory_planning")
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass

    class Branches(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(3, 16, 1)

        def forward(self, x: Any) -> Any:
            left = torch.relu(self.a(x)).mean((2, 3))
            right = torch.relu(self.b(x)).mean((2, 3))
            return torch.cat([left, right], dim=1)

    exported = torch.export.export(Branches().eval(), (torch.randn(1, 3, 16, 16),))
    sizes = []
    for algorithm in (planning.naive, planning.greedy, ullage_packing):
        passes = MemoryPlanningPass(planning.MemoryPlanningAlgorithmSuite([algorithm]))
        program = to_edge(exported).to_executorch(
            ExecutorchBackendConfig(memory_planning_pass=passes)
        )
        made = program.exported_program()
        sizes.append(sum(made.graph_module.meta["non_const_buffer_sizes"]))
        assert len(program.buffer) > 0
        verifier = planning.Verifier(made.graph_module, True, True, True, made.graph_signature)
        if algorithm is not planning.naive:
            assert verifier.verify_storage_reuse() > 0
    naive, greedy, ours = sizes
    assert ours <= greedy < naive
