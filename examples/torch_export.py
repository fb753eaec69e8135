"""A `torch.export` program planned for a chip, without ONNX in between.

Needs torch.
"""

try:
    import torch
except ImportError:
    raise SystemExit("this example needs torch: pip install 'ullage[torch]'") from None

from ullage.compiler import compile_problem
from ullage.compiler.integrations.torch_export import problem_from_exported
from ullage.hwmodels.catalog.registry import load_target

model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(32, 10),
).eval()
exported = torch.export.export(model, (torch.randn(1, 3, 64, 64),))
target = load_target("edge-npu").with_fast_memory(256 * 1024)
done = compile_problem(problem_from_exported(exported, target))
print(f"latency {done.score.latency_s:.3e} s, lower bound {done.bound.value:.3e} s")
for r in done.plan.residencies:
    name = done.plan.problem.buffers[r.buffer].name
    print(f"{name:20} {r.tier:5} at {r.offset:7} during steps [{r.start}, {r.end})")
