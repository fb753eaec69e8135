"""An import gives the same graph in every process: what is in sets has no order to rely on."""

import os
import subprocess
import sys

import pytest

# Imports a model for a chip that gives biases and scales values of their own, and pads.
SCRIPT = """
import hashlib, sys
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.model_zoo import find_model
from ullage.hwmodels.catalog.registry import load_target

target = load_target("ethos-u55-128")
options = ImportOptions(dtype="int8").for_target(target)
graph = import_model(find_model(sys.argv[1]), options)
told = [*graph.values.values(), *graph.operators]
print(len(told), hashlib.sha256(repr(told).encode()).hexdigest())
"""


def graph_of(model: str, seed: int) -> str:
    """A digest of the graph, imported in a process whose strings hash by a seed."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", SCRIPT, model]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("model", ["squeezenet", "shufflenet"])
def test_the_graph_is_the_same_in_every_process(model: str) -> None:
    first = graph_of(model, 1)
    assert int(first.split()[0]) > 50
    assert graph_of(model, 2) == first
