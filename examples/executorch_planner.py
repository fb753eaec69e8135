"""ExecuTorch's memory planning with our packer beside its own `greedy`; the better one is kept.

Needs executorch.
"""

try:
    import torch
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite, greedy
    from executorch.exir.passes import MemoryPlanningPass
except ImportError:
    raise SystemExit("this example needs ExecuTorch: pip install 'ullage[executorch]'") from None

from ullage.compiler.integrations.executorch import ullage_packing


class Wired(torch.nn.Module):
    """Convolutions of uneven widths, each of two results before it."""

    wires = ((0, 0), (0, 1), (1, 2), (0, 3), (2, 4), (1, 5), (3, 6), (4, 7))
    widths = (4, 20, 9, 33, 14, 27, 7, 38, 12)

    def __init__(self) -> None:
        super().__init__()
        width, conv = self.widths, torch.nn.Conv2d
        for i, (a, b) in enumerate(self.wires, start=1):
            self.add_module(f"left{i}", conv(width[a], width[i], 1))
            self.add_module(f"right{i}", conv(width[b], width[i], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        found = [x]
        for i, (a, b) in enumerate(self.wires, start=1):
            left, right = self.get_submodule(f"left{i}"), self.get_submodule(f"right{i}")
            found.append(torch.relu(left(found[a]) + right(found[b])))
        return found[-1]


exported = torch.export.export(Wired().eval(), (torch.randn(1, 4, 32, 32),))
for algorithms in ([greedy], [ullage_packing], [greedy, ullage_packing]):
    passes = MemoryPlanningPass(MemoryPlanningAlgorithmSuite(algorithms))
    program = to_edge(exported).to_executorch(ExecutorchBackendConfig(memory_planning_pass=passes))
    sizes = program.exported_program().graph_module.meta["non_const_buffer_sizes"]
    print(f"{[a.__name__ for a in algorithms]}: {sum(sizes)} bytes of planned memory")
