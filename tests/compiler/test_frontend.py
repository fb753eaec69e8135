"""Options of the front end: what they are not is said at once, in words."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.frontend import FrontendOptions, Ordering, checked, file_order, prepare
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions

WRONG: list[tuple[str, Any]] = [
    *(("target", value) for value in (5, None, Path("edge-npu"))),
    *(("fast_memory_bytes", value) for value in (-1, 1.5, 4096.0, True, "64KiB", [1])),
    *(("batch", value) for value in (0, -1, 1.5, True, "2")),
    *(("dtype", value) for value in (8, np.int8, "int9")),
    *(("overrides", v) for v in ("a=b", ["a=b"], {"split_operands": False}, {5: "x"}, None)),
    *(("dims", value) for value in ({"n": "3"}, {"n": 1.5}, {0: 1}, [("n", 1)])),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_options_of_other_types_are_refused(name: str, value: object) -> None:
    options: Any = {name: value}
    with pytest.raises(UsageError, match=r"data type|is .+, not "):
        prepare(find_model("squeezenet"), FrontendOptions(**options))


def test_what_means_the_same_is_taken() -> None:
    given: Any = np.int64(4096)
    options = checked(FrontendOptions(fast_memory_bytes=given, dtype="FP16"))
    assert options.dtype == "float16"
    assert options.fast_memory_bytes == 4096
    assert type(options.fast_memory_bytes) is int


@pytest.mark.parametrize("model", [5, "squeezenet", b"onnx", None, ["squeezenet"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match=r"pathlib\.Path or an onnx\.ModelProto, not"):
        prepare(model, FrontendOptions())


def test_reading_ends_at_the_deadline() -> None:
    with pytest.raises(TimeLimitError, match="before the model was read"):
        prepare(find_model("resnet50"), FrontendOptions(), deadline=time.monotonic() - 1)


def test_choosing_the_order_is_no_part_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("ullage.compiler.frontend.time.monotonic", lambda: clock[0])

    def choose(graph: Graph, target: Target, aliases: AliasOptions) -> Ordering:
        clock[0] += 8.0
        return file_order(graph, target, aliases)

    path = find_model("squeezenet")
    prepared = prepare(path, FrontendOptions(), choose)
    assert (prepared.import_s, prepared.order_s) == (0.0, 8.0)
