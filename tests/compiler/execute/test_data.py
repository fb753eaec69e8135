"""Numbers for models: the file's own, seeded ones where there are none."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import const, info, model, node, weight
from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.data import MAX_WEIGHT_BYTES, model_inputs, model_weights
from ullage.compiler.execute.element_types import EXECUTABLE, as_bytes, numpy_dtype
from ullage.compiler.importer.build import Imported, import_detailed


def read(proto: onnx.ModelProto) -> Imported:
    return import_detailed(proto, name="m")


def weights_of(proto: onnx.ModelProto, folder: Path | None = None, seed: int = 0) -> dict[str, Any]:
    found = read(proto)
    return model_weights(found.proto, found.scope, folder, seed)


def inputs_of(proto: onnx.ModelProto, seed: int = 0) -> dict[str, Any]:
    found = read(proto)
    return model_inputs(found.graph.inputs, found.scope.types, found.proto, seed)


def product(*initializers: onnx.TensorProto) -> onnx.ModelProto:
    return model([node("MatMul", "x w", "y")], {"x": (4, 8)}, "y", initializers)


def test_weights_in_the_file_are_used() -> None:
    stored = np.arange(64).reshape(8, 8)
    assert np.array_equal(weights_of(product(const("w", stored, "float32")))["w"], stored)


def test_external_weights_are_read_where_they_are(tmp_path: Path) -> None:
    stored = np.arange(64, dtype=np.float32)
    proto = product(weight("w", (8, 8)))
    drawn = weights_of(proto, tmp_path)["w"]
    (tmp_path / "missing.bin").write_bytes(stored.tobytes())
    assert np.array_equal(weights_of(proto, tmp_path)["w"], stored.reshape(8, 8))
    assert not np.array_equal(drawn, stored.reshape(8, 8))


@pytest.mark.parametrize("content", [b"123", bytes(64)])
def test_external_data_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "missing.bin").write_bytes(content)
    with pytest.raises(ModelError, match=r"'w' cannot be read from 'missing.bin'") as caught:
        weights_of(product(weight("w", (8, 8))), tmp_path)
    assert caught.value.details == {"tensor": "w"}


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(256))
    inside = tmp_path / "inside"
    inside.mkdir()
    tensor = weight("w", (8, 8))
    tensor.external_data[0].value = "../secret.bin"
    with pytest.raises(ModelError, match="cannot be read"):
        weights_of(product(tensor), inside)


def test_absent_weights_are_drawn_from_the_seed() -> None:
    proto = product(weight("w", (8, 8)))
    one, same, other = (weights_of(proto, seed=seed)["w"] for seed in (0, 0, 1))
    assert one.dtype == np.float32
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one)) == one.size, "equal numbers hide wrong data"


def test_inputs_are_drawn_from_the_seed() -> None:
    proto = product(weight("w", (8, 8)))
    one, same, other = (inputs_of(proto, seed)["x"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (4, 8)


def test_numbers_suit_their_readers() -> None:
    proto = model(
        [
            node("BatchNormalization", "x scale shift mean var", "b"),
            node("Sqrt", "p", "q"),
            node("Mul", "b q", "m"),
            node("DequantizeLinear", "w s z", "d"),
            node("Conv", "m d", "y", kernel_shape=[1, 1]),
            node("Gather", "t i", "g"),
        ],
        [
            info("x", (1, 4, 8, 8)),
            info("p", (1, 4, 8, 8)),
            info("i", (3,), "int64"),
        ],
        "y g",
        [
            *(weight(name, (4,)) for name in ("scale", "shift", "mean", "var")),
            weight("w", (4, 4, 1, 1), "int8"),
            weight("s", ()),
            weight("z", (), "int8"),
            weight("t", (2, 16)),
        ],
    )
    drawn = {**weights_of(proto), **inputs_of(proto)}
    assert (drawn["var"] > 0).all()
    assert (drawn["s"] > 0).all()
    assert (drawn["p"] > 0).all(), "the square root must not give NaN"
    assert set(drawn["i"].tolist()) <= {0, 1}, "rows that exist in any table of two"
    assert len(np.unique(drawn["w"])) > 8


def test_activations_stay_of_order_one_through_many_layers() -> None:
    layers = 30
    chain = [node("MatMul", f"t{i} w{i}", f"t{i + 1}") for i in range(layers)]
    proto = model(
        chain, {"t0": (16, 64)}, f"t{layers}", [weight(f"w{i}", (64, 64)) for i in range(layers)]
    )
    found = inputs_of(proto)["t0"]
    for i, array in enumerate(weights_of(proto).values()):
        assert 0.05 < found.std() < 20, i
        found = found @ array


@pytest.mark.parametrize("dtype", sorted(EXECUTABLE))
@pytest.mark.parametrize("shape", [(50,), ()])
def test_every_type_with_a_fixed_size_has_numbers(dtype: str, shape: tuple[int, ...]) -> None:
    opset = 25
    proto = model(
        [node("Identity", "x", "y"), node("Identity", "w", "v")],
        [info("x", shape, dtype)],
        "y v",
        [weight("w", shape, dtype)],
        opset=opset,
    )
    for array in (inputs_of(proto)["x"], weights_of(proto)["w"]):
        assert array.dtype == numpy_dtype(dtype)
        assert array.shape == shape
    assert shape == () or len(set(inputs_of(proto)["x"].tolist())) > 1


@pytest.mark.parametrize("length", [None, "0"])
@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_external_data_without_a_length_is_the_tensors_own(
    tmp_path: Path, length: str | None, dtype: str
) -> None:
    """As onnxruntime reads it: as many bytes as the tensor has, from the offset on."""
    size = 256 if dtype == "float32" else 32
    content = np.random.default_rng(0).integers(0, 120, 64 + size + 100).astype(np.uint8)
    (tmp_path / "missing.bin").write_bytes(content.tobytes())
    tensor = weight("w", (8, 8), dtype)
    tensor.external_data.add(key="offset", value="64")
    if length is not None:
        tensor.external_data.add(key="length", value=length)
    nodes = [node("Identity", "w", "v"), node("Relu", "x", "y")]
    proto = model(nodes, {"x": (4,)}, "v y", [tensor], opset=23)
    found = weights_of(proto, tmp_path)["w"]
    assert as_bytes(found).tobytes() == content[64 : 64 + size].tobytes()


def test_external_data_past_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "missing.bin").write_bytes(bytes(300))
    tensor = weight("w", (8, 8))
    tensor.external_data.add(key="offset", value="64")
    with pytest.raises(ModelError, match=r"'w' cannot be read from 'missing\.bin'"):
        weights_of(product(tensor), tmp_path)


def test_too_many_weights_are_refused_before_any_is_made() -> None:
    rows = MAX_WEIGHT_BYTES // 32 + 1
    proto = model(
        [node("Gather", "w i", "y")], [info("i", (4,), "int64")], "y", [weight("w", (rows, 8))]
    )
    with pytest.raises(ModelError, match=f"{rows * 32} bytes of weights.* at most {2**31}"):
        weights_of(proto)
