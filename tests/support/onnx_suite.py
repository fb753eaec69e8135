"""The backend suite of the `onnx` wheel: models of every operator with inputs and right results.

Some 1,900 cases of one node (and of its expansion into others) are built in code by the wheel, 140
lie in its files. `import_case` reads one and compares every planned size with the arrays that the
model really has; `execute_case` compiles and runs it.
"""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.support.solving import solve_with
from ullage.compiler.common.dtypes import storage_bytes
from ullage.compiler.common.errors import ModelError, UllageError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.kernels import open_session
from ullage.compiler.execute.runner import Executor, RunOptions, import_options
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.importer.load import element_name
from ullage.compiler.importer.symbols import input_dims

# Kinds of cases whose models lie in the wheel's files.
ON_DISK = ("simple", "pytorch-operator", "pytorch-converted")


@dataclass(frozen=True)
class SuiteCase:
    """A model with values.

    Attributes:
        name: the suite's name of it.
        model: the model.
        inputs: values by name; a sequence is a list, an absent optional is None.
        outputs: right results by name, in the same form.
    """

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class ImportOutcome:
    """What became of a case in the importer.

    Attributes:
        refusal: message of the refusal, empty where the model was read.
        crash: an exception that is no refusal, empty where there was none.
        wrong_sizes: a text per tensor whose planned bytes are not those that it has.
        sized: tensors compared.
    """

    refusal: str = ""
    crash: str = ""
    wrong_sizes: tuple[str, ...] = ()
    sized: int = 0


@dataclass(frozen=True)
class RunOutcome:
    """What became of a case that was compiled and executed.

    Attributes:
        refusal: why it was not executed, empty where it was.
        wrong: what went wrong: a crash, a difference, a plan that is not the same twice.
        ordinary: whether onnxruntime opens and runs the model as a whole.
    """

    refusal: str = ""
    wrong: str = ""
    ordinary: bool = True


def node_cases() -> list[SuiteCase]:
    """The cases that the wheel builds in code, in the order of their names."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        state = np.random.get_state()  # noqa: NPY002 - the wheel draws from numpy's global state
        np.random.seed(0)  # noqa: NPY002
        found = [case for case in collect_testcases(None) if case.model is not None]
        np.random.set_state(state)  # noqa: NPY002
    return sorted(map(_from_code, found), key=lambda case: case.name)


def disk_cases() -> list[SuiteCase]:
    """The cases in the wheel's files."""
    from onnx.backend.test.loader import load_model_tests

    cases = [case for kind in ON_DISK for case in load_model_tests(kind=kind)]
    return [_from_disk(c.name, Path(c.model_dir)) for c in sorted(cases, key=lambda c: c.name)]


@cache
def all_cases() -> list[SuiteCase]:
    """Both."""
    return node_cases() + disk_cases()


def _from_code(case: Any) -> SuiteCase:
    inputs, outputs = case.data_sets[0]
    return SuiteCase(
        case.name,
        case.model,
        dict(zip((v.name for v in case.model.graph.input), inputs, strict=False)),
        dict(zip((v.name for v in case.model.graph.output), outputs, strict=False)),
    )


def _from_disk(name: str, folder: Path) -> SuiteCase:
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    stored = {t.name for t in model.graph.initializer}
    entering = [v for v in model.graph.input if v.name not in stored]
    return SuiteCase(
        name,
        model,
        {v.name: _value(data / f"input_{i}.pb", v) for i, v in enumerate(entering)},
        {v.name: _value(data / f"output_{i}.pb", v) for i, v in enumerate(model.graph.output)},
    )


def _value(file: Path, info: onnx.ValueInfoProto) -> Any:
    if info.type.WhichOneof("value") == "sequence_type":
        sequence = onnx.SequenceProto.FromString(file.read_bytes())
        return onnx.numpy_helper.to_list(sequence)
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))


def dims_of(case: SuiteCase) -> dict[str, int]:
    """Values of the model's symbolic dimensions, from the shapes of the inputs."""
    dims: dict[str, int] = {}
    for info in case.model.graph.input:
        value = case.inputs.get(info.name)
        if value is None or isinstance(value, list):
            continue
        pairs = zip(input_dims(info) or (), shape_and_dtype(value)[0], strict=False)
        dims.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    return dims


def import_case(case: SuiteCase, *, intermediates: bool = False) -> ImportOutcome:
    """Read a case and compare what is planned with what is there.

    Args:
        case: the case.
        intermediates: compare the tensors inside a model of several nodes as well, which runs it.
    """
    try:
        imported = import_detailed(
            case.model, ImportOptions(dims=dims_of(case), fuse=False), case.name
        )
    except ModelError as error:
        return ImportOutcome(refusal=error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return ImportOutcome(crash=f"{type(error).__name__}: {error}")
    arrays = {**case.inputs, **case.outputs}
    if intermediates and len(imported.proto.graph.node) > 1:
        arrays = {**_intermediates(case, imported), **arrays}
    wrong: list[str] = []
    sized = 0
    for name, tensor_type in imported.scope.types.items():
        array = arrays.get(name)
        if array is None or isinstance(array, list):
            continue
        sized += 1
        shape, dtype = shape_and_dtype(array)
        found = storage_bytes(dtype, int(np.prod(shape, dtype=np.int64)))
        planned = storage_bytes(tensor_type.dtype, tensor_type.elements)
        exact = not tensor_type.is_upper_bound
        lengths = zip(shape, tensor_type.shape, strict=False)
        fits = len(shape) == len(tensor_type.shape) and all(
            length == most if tensor_type.is_exact(axis) else length <= most
            for axis, (length, most) in enumerate(lengths)
        )
        if not fits or planned < found or (exact and planned != found):
            bound = "" if exact else "at most "
            wrong.append(
                f"{name} {bound}{tensor_type.dtype}{list(tensor_type.shape)}, is {dtype}"
                f"{list(shape)}"
            )
    return ImportOutcome(wrong_sizes=tuple(wrong), sized=sized)


def shape_and_dtype(value: Any) -> tuple[tuple[int, ...], str]:
    """Shape and element type, in our spelling, of an array or a tensor of a file."""
    if isinstance(value, onnx.TensorProto):
        return tuple(value.dims), str(element_name(value.data_type))
    array = np.asarray(value)
    number = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return array.shape, str(element_name(number))


def _intermediates(case: SuiteCase, imported: Imported) -> dict[str, Any]:
    """Every tensor of the flat model, by onnx's reference evaluator; empty where it cannot."""
    from onnx.reference import ReferenceEvaluator

    feeds = {n: array_of(v) for n, v in case.inputs.items() if v is not None}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(imported.proto)
            found: Mapping[str, Any] = evaluator.run(None, feeds, intermediate=True)
    except Exception:  # noqa: BLE001 - the evaluator lacks some operators
        return {}
    # Of scalars that a Loop stacks, the evaluator makes rows of one element.
    stacked = {n for p in imported.proto.graph.node if p.op_type == "Loop" for n in p.output}
    return {
        name: array
        for name, array in found.items()
        if isinstance(array, np.ndarray) and array.dtype != object and name not in stacked
    }


def array_of(value: Any) -> Any:
    """A value of a case as an array where it is a tensor of a file."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def execute_case(case: SuiteCase, folder: Path | None = None) -> RunOutcome:
    """Compile a case twice and execute it; the import of it must have succeeded."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        path = Path(inside) / "model.onnx"
        path.write_bytes(case.model.SerializeToString())
        try:
            options = CompileOptions(dims=dims_of(case))
            prepared = prepare(path, options)
            plans = [solve_with("greedy", prepared.problem) for _ in range(2)]
            if plans[0] != plans[1]:
                return RunOutcome(wrong="two plans of one model differ")
            plan = replace(plans[0], model=prepared.model)
            executor = Executor(path, import_options(plan), name=case.name)
            given = {n: np.asarray(array_of(case.inputs[n])) for n in executor.inputs}
            done = executor.run(plan, RunOptions(inputs=given))
        except ModelError as error:
            return RunOutcome(refusal=error.message, ordinary=runs_ordinarily(case))
        except UllageError as error:
            return RunOutcome(wrong=f"{error.kind}: {error.message}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return RunOutcome(wrong=f"{type(error).__name__}: {error}")
    different = [c.name for c in done.outputs if not c.passed]
    return RunOutcome(wrong=f"{', '.join(different)} differ" if different else "")


def runs_ordinarily(case: SuiteCase) -> bool:
    """Whether onnxruntime opens the model and runs it on the case's inputs."""
    arrays = (np.ndarray, np.generic)
    feeds = {name: np.asarray(a) for name, a in case.inputs.items() if isinstance(a, arrays)}
    try:
        session = open_session(case.model)
        wanted = {value.name for value in session.get_inputs()}
        if feeds.keys() == wanted:  # types that numpy lacks cannot be fed this way
            session.run(None, feeds)
    except Exception:  # noqa: BLE001 - onnxruntime raises types of its own
        return False
    return True
