"""The palette: what must be told apart can be, by everybody; texts can be read.

Simulated with the matrices of Machado, Oliveira, Fernandes (2009) for full dichromacy; distances
are those of CIE L*a*b* (1976), contrasts those of WCAG 2.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pytest

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.palette import (
    CURVES,
    DARK,
    KINDS,
    LIGHT,
    PAIRS,
    SHADES,
    TIERS,
    css_variables,
)

# How linear RGB looks to people with each kind of vision.
VISIONS = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)
# Distance in L*a*b* at which areas side by side are told apart at a glance; 2.3 is just noticed.
APART = 12.0
THEMES = [pytest.param(LIGHT, id="light"), pytest.param(DARK, id="dark")]


def linear(colour: str) -> Floats:
    """(3,) linear RGB of `#rrggbb`."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: Floats) -> Floats:
    """(3,) L*a*b* of linear RGB."""
    x = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest(colours: Mapping[str, str], names: Iterable[str]) -> float:
    """The least distance between two of the colours under any vision."""
    return min(
        float(np.linalg.norm(lab(matrix @ linear(colours[a])) - lab(matrix @ linear(colours[b]))))
        for a, b in combinations(names, 2)
        for matrix in VISIONS.values()
    )


def contrast(a: str, b: str) -> float:
    """The contrast of two colours, 1 to 21."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (a, b))
    return (light + 0.05) / (dark + 0.05)


def blended(above: str, below: str, opacity: float) -> str:
    """A colour over another."""
    parts = [(int(above[i : i + 2], 16), int(below[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in parts)


def test_the_measures_are_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.01)
    red_green = {"a": "#c83c3c", "b": "#648200"}
    assert (
        closest(red_green, "ab")
        < 30
        < np.linalg.norm(lab(linear(red_green["a"])) - lab(linear(red_green["b"])))
    )


@pytest.mark.parametrize("colours", THEMES)
@pytest.mark.parametrize(
    "names",
    [
        (*KINDS, "cascade"),
        ("compute", "overhead", *(f"tier{m}" for m in range(TIERS))),
        tuple(f"pair{i}" for i in range(PAIRS)),
        ("compute", "overhead", "tier0", "tier1", "pair0", "pair1"),
    ],
    ids=["kinds", "tiers", "pairs", "two tiers"],
)
def test_colours_of_one_picture_are_told_apart(
    colours: Mapping[str, str], names: tuple[str, ...]
) -> None:
    assert closest(colours, names) >= APART


def test_curves_are_told_apart() -> None:
    assert closest({str(i): colour for i, colour in enumerate(CURVES)}, map(str, range(8))) >= 6


@pytest.mark.parametrize("colours", THEMES)
def test_texts_and_lanes_stand_out(colours: Mapping[str, str]) -> None:
    for ground in ("bg", "panel", "sunken"):
        for text in ("ink", "soft", "accent", "stall"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["accent-ink"], colours["accent"]) >= 4.5
    for kind in (*KINDS, "cascade"):
        for shade in SHADES:
            shown = blended(colours[kind], colours["panel"], shade)
            assert contrast(colours["on-rect"], shown) >= 4.5, (kind, shade)
    areas = ["compute", "overhead"]
    areas += [f"tier{m}" for m in range(TIERS)] + [f"pair{i}" for i in range(PAIRS)]
    for area in areas:
        assert contrast(colours[area], colours["sunken"]) >= 3, area


def test_both_themes_have_the_same_roles() -> None:
    assert LIGHT.keys() == DARK.keys()
    for colour in [*LIGHT.values(), *DARK.values(), *CURVES]:
        assert re.fullmatch("#[0-9a-fA-F]{6}", colour)
    assert css_variables({"ink": "#000000"}) == "--ink: #000000;"
