"""`onnx`: the model with its plan in `metadata_props`, and the reader of such files."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.files import is_file, read_file, temporary_beside, write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import dump_plan, load_plan

if TYPE_CHECKING:
    import onnx

# Metadata key of the plan, JSON as in plan.json.
PLAN_KEY = "ullage.plan"
# Metadata key of the summary, JSON; the onnx-ir pass writes the same key.
SUMMARY_KEY = "ullage"
# Size in bytes of the largest file: protobuf's own limit.
MAX_FILE_BYTES = 2**31 - 1


def emit_onnx(compiled: Compiled, folder: Path) -> Path:
    """Write `NAME.planned.onnx`: the model file, weights and all, with the plan in it.

    External weight files are copied into the folder, where they exist.

    Returns:
        Path of the model.

    Raises:
        UsageError: the plan was not made from a file, or the result is too large for one file.
        ModelError: the model file cannot be read, or names weight files outside its folder.
    """
    model_path = compiled.plan.model.get("path")
    if model_path is None:
        raise UsageError(
            "the plan was not made from a model file, so there is none to write it into; use "
            "`with_plan(model, compiled)` on the model at hand"
        )
    source = Path(str(model_path))
    model = with_plan(_load(source), compiled)
    data = model.SerializeToString()
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(
            f"{source} with its plan has {len(data)} bytes, a protobuf file holds at most "
            f"{MAX_FILE_BYTES}; store the weights as external data"
        )
    weights = _weights_to_bring(model, source.parent, folder)
    path = folder / f"{source.stem}.planned.onnx"
    write_atomic(path, data)
    for old, new in weights:
        _copy(old, new)
    return path


def with_plan(model: "onnx.ModelProto", compiled: Compiled) -> "onnx.ModelProto":
    """The same model object with plan and summary in its metadata, older ones replaced."""
    texts = {
        SUMMARY_KEY: json.dumps(summarise(compiled)),
        PLAN_KEY: dump_plan(compiled.plan).decode(),
    }
    other_entries = [entry for entry in model.metadata_props if entry.key not in texts]
    del model.metadata_props[:]
    model.metadata_props.extend(other_entries)
    for key, text in texts.items():
        model.metadata_props.add(key=key, value=text)
    return model


def read_onnx_plan(model: "Path | onnx.ModelProto") -> Plan:
    """The plan inside a model.

    Raises:
        UsageError: the model carries no plan, or one of another format.
        ModelError: the file cannot be read.
    """
    where = str(model) if isinstance(model, Path) else "the model"
    proto = _load(model) if isinstance(model, Path) else model
    for entry in proto.metadata_props:
        if entry.key == PLAN_KEY:
            return load_plan(entry.value.encode(), where)
    raise UsageError(f"{where} carries no plan; write one with `ullage compile --emit onnx`")


def _load(path: Path) -> "onnx.ModelProto":
    """The model of a file, unchanged: functions not inlined, external data not opened."""
    import onnx
    from google.protobuf.message import DecodeError

    data = read_file(path, MAX_FILE_BYTES, ModelError)
    try:
        return onnx.load_from_string(data)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file: {error}") from error


def _weights_to_bring(
    model: "onnx.ModelProto", source: Path, folder: Path
) -> list[tuple[Path, Path]]:
    """(from, to) of external weight files, for the new model's folder and the names that it uses.

    Raises:
        ModelError: a file lies outside the model's folder.
    """
    found = []
    for name in sorted(_external_files(model)):
        old, new = source / name, folder / name
        if not (_is_inside(old, source) and _is_inside(new, folder)):
            raise ModelError(
                f"the model keeps weights in {name!r}, outside its own folder; save it with its "
                "weights beside it"
            )
        if not is_file(old) or (is_file(new) and new.samefile(old)):
            continue  # weights may be absent: shapes suffice for a plan
        found.append((old, new))
    return found


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder, links followed."""
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # a NUL in it
        return False
    return real.is_relative_to(os.path.realpath(folder))


def _copy(old: Path, new: Path) -> None:
    """Copy a file, whole or not at all; not a link, since onnx refuses to read through one."""
    temporary = temporary_beside(new)
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(old, temporary)
            temporary.replace(new)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{new}: cannot be written: {error.strerror or error}") from error


def _external_files(model: "onnx.ModelProto") -> set[str]:
    """Paths of the external data of a model's tensors, as the model states them."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    locations = set()
    for tensor in _tensors(model.graph):
        if isinstance(tensor, onnx.TensorProto) and uses_external_data(tensor):
            locations |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    return locations


def _tensors(graph: "onnx.GraphProto") -> "list[onnx.TensorProto]":
    """Initialisers and tensor attributes, those of subgraphs included."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                tensors += _tensors(inner)
    return tensors
