"""Models by name and by path."""

from pathlib import Path

import pytest

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.model_zoo import find_model, named_models


def test_a_name_and_a_path_give_a_file(tmp_path: Path) -> None:
    name, file = next(iter(named_models().items()))
    assert find_model(name) == file
    (tmp_path / "a.onnx").write_bytes(b"")
    assert find_model(str(tmp_path / "a.onnx")) == tmp_path / "a.onnx"


def test_what_does_not_exist_brings_what_may_have_been_meant(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"")
    (tmp_path / "encoder.txt").write_bytes(b"")
    with pytest.raises(ModelError, match="did you mean resnet50"):
        find_model("resnet5")
    with pytest.raises(ModelError) as raised:
        find_model(str(tmp_path / "encodr.onnx"))
    assert f"did you mean {tmp_path / 'encoder.onnx'}?" in raised.value.message
    with pytest.raises(ModelError, match="is a folder"):
        find_model(str(tmp_path))
    for missing in (str(tmp_path / "nowhere" / "x.onnx"), "nowhere.onnx", "nowhere/x"):
        with pytest.raises(ModelError) as raised:  # a path: names of models do not help
            find_model(missing)
        assert raised.value.message.startswith(f"{missing}: no such file; give the path")
    with pytest.raises(ModelError, match="does not exist, and is no known name either; names"):
        find_model("nowhere")
