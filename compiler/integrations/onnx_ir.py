"""A pass of an onnx-ir pipeline that writes each value's place into the model's metadata."""

import json
import logging
from dataclasses import replace

import onnx_ir as ir

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import WHOLE, CompileOptions
from ullage.compiler.driver.result import Compiled

# Metadata key of values and of the model.
KEY = "ullage"

_log = logging.getLogger(__name__)


class PlanMemoryPass(ir.passes.InPlacePass):
    """Plan memory and write each value's place into its metadata.

    Runs in an `onnx_ir.passes.PassManager`. Each planned value gets `metadata_props["ullage"]`:
    JSON with `buffer`, `buffer_offset_bytes` (where it begins inside its buffer) and `residencies`,
    a list of `{tier, offset, value_bytes, start, ready, end}` (half-open steps). The model gets the
    summary under the same key. Whatever an earlier run wrote is replaced.

    Planned values that the model does not have by name (the importer inlines local functions)
    cannot be annotated: the summary's `notes` says how many, a warning names some.

    Attributes:
        options: how to plan, as for `compile_model`; operators run whole where no schedule is
            named, since those who read the metadata of values run the nodes of the model.
        compiled: the result of the last run, with the plan.
    """

    def __init__(self, options: CompileOptions | None = None) -> None:
        super().__init__()
        self.options = options or CompileOptions()
        if self.options.schedule is None:
            self.options = replace(self.options, schedule=WHOLE)
        self.compiled: Compiled | None = None

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Plan a model.

        Raises:
            UllageError: the model cannot be planned.
        """
        from ullage.compiler.driver.summary import summarise

        self.compiled = compile_model(ir.to_proto(model), self.options)
        places = value_places(self.compiled)
        known = {value.name: value for value in _values(model)}
        for name, value in known.items():
            value.metadata_props.pop(KEY, None)
            if name in places:
                value.metadata_props[KEY] = json.dumps(places[name])
        summary = summarise(self.compiled)
        absent = sorted(places.keys() - known.keys())
        if absent:
            examples = ", ".join(absent[:3])
            note = f"{len(absent)} planned values are not in the model by name: {examples} ..."
            _log.warning("%s: %s", summary["model"], note)
            summary["notes"] = [*summary["notes"], note]
        model.metadata_props[KEY] = json.dumps(summary)
        return ir.passes.PassResult(model, modified=True)


def _values(model: ir.Model) -> list[ir.Value]:
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        values += node.outputs
    return values


def value_places(compiled: Compiled) -> dict[str, dict[str, object]]:
    """Where the bytes of each value of a plan are, and when, by name, JSON-serialisable."""
    plan = compiled.plan
    by_buffer: dict[int, list[int]] = {}
    for number, residency in enumerate(plan.residencies):
        by_buffer.setdefault(residency.buffer, []).append(number)
    places: dict[str, dict[str, object]] = {}
    for index, buffer in enumerate(plan.problem.buffers):
        for placed in buffer.values:
            rows: list[dict[str, object]] = []
            for number in by_buffer.get(index, ()):
                r = plan.residencies[number]
                low, high = max(r.start_byte, placed.start_byte), min(r.end_byte, placed.end_byte)
                if low < high:
                    rows.append(
                        {
                            "tier": r.tier,
                            "offset": r.offset + low - r.start_byte,
                            "value_bytes": [low - placed.start_byte, high - placed.start_byte],
                            "start": r.start,
                            "ready": r.ready,
                            "end": r.end,
                        }
                    )
            places[placed.name] = {
                "buffer": buffer.name,
                "buffer_offset_bytes": placed.start_byte,
                "residencies": rows,
            }
    return places
