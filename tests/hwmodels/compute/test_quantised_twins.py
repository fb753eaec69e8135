"""Quantised models and the same networks planned as int8: alike in time and traffic."""

from pathlib import Path

import pytest

from ullage.compiler import CompileOptions, compile_model

MODELS = Path(__file__).parents[4] / "shared" / "validation" / "models"


@pytest.mark.skipif(not MODELS.is_dir(), reason="the models lie beside the project")
@pytest.mark.parametrize("name", ["kws", "resnet8", "ad01"])
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512", "stm32h7a3"])
def test_a_quantised_model_is_as_its_twin_under_the_policy(name: str, target: str) -> None:
    figures = []
    for suffix, dtype in (("qdq", None), ("int8", "int8")):
        options = CompileOptions(
            target=target, dtype=dtype, batch=1, solver="fluid", schedule="whole"
        )
        score = compile_model(MODELS / f"{name}_{suffix}.onnx", options).score
        traffic = sum(score.traffic_bytes.values())
        figures.append((score.compute_s, score.latency_s, traffic))
    quantised, planned = figures
    assert quantised == pytest.approx(planned, rel=0.05)
