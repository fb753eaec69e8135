"""Blocks of MACs beside Arm Vela's own estimates, where those lie beside the project."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REFERENCES = ROOT.parent / "shared" / "validation"


@pytest.mark.skipif(not REFERENCES.is_dir(), reason="no reference figures beside the project")
@pytest.mark.parametrize(
    ("npu", "close", "tolerances"),
    [
        ("ethos-u55-128", 0.9, (0.25, 0.25, 0.1, 0.1)),
        ("ethos-u65-512", 0.85, (0.3, 0.3, 0.3, 0.15)),
    ],
)
def test_cycles_of_ethos(
    npu: str, close: float, tolerances: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import validation

    wanted = ["kws_int8", "resnet8_int8", "mbv1_050_160", "resnet50"]
    rows = list(validation.vela_layers(REFERENCES, npu, wanted))
    assert validation.close_share(rows) > close
    for network, tolerance in zip(wanted, tolerances, strict=True):
        mine = [row for row in rows if row.network == network]
        ratio = sum(row.ours for row in mine) / sum(row.vela for row in mine)
        assert abs(ratio - 1) < tolerance, network
    for name in ("validation", "common"):
        sys.modules.pop(name)
