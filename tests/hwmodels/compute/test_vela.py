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


@pytest.mark.skipif(not REFERENCES.is_dir(), reason="no reference figures beside the project")
@pytest.mark.parametrize("network", ["kws_int8", "resnet8_int8"])
def test_bytes_of_dram_where_vela_has_feature_maps(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Vela and our charges differ by is the image, which its first convolution reads often."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import vela

    npu = "ethos-u65-512"
    totals = vela.totals_of(REFERENCES, npu)[network]
    (first, ours_first), *others = vela.placed_bytes(REFERENCES, npu, network, totals)
    assert first > 3 * ours_first
    ours = first + sum(ours for _, ours in others)
    assert ours == pytest.approx(totals.slow_moved_bytes, rel=0.03)
    for name in ("vela", "common"):
        sys.modules.pop(name, None)
