"""Tasks of choosing a schedule: small random networks on chips of little memory."""

from dataclasses import replace
from functools import cache
from random import Random

import onnx

from tests.support.random_models import RandomModel
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.valued import SchedulingTask


@cache
def small_target(memory_bytes: int, granularity_bytes: int = 16) -> Target:
    """The default target with little memory, cut finely."""
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    return replace(target, slice_granularity_bytes=granularity_bytes)


def task_of(graph: Graph, target: Target) -> SchedulingTask:
    """The task of the fastest schedule of a graph in the file's order."""
    return SchedulingTask(
        graph=graph,
        order=model_order(graph),
        target=target,
        aliases=alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget(),
    )


def random_task(seed: int, dtype: str | None = "int8") -> tuple[onnx.ModelProto, SchedulingTask]:
    """A small random network on a chip whose memory holds some of it."""
    proto = RandomModel(seed).proto()
    graph = import_model(proto, ImportOptions(dtype=dtype))
    memory = Random(seed).choice((256, 512, 1024, 4096))
    return proto, task_of(graph, small_target(memory * (1 if dtype else 4)))
