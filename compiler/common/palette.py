"""The colours of all pictures: the HTML report, the SVG map and the plots take them from here.

Colours that tell one thing from another stay apart for people without full colour vision too: a
test simulates protanopia, deuteranopia and tritanopia (Machado, Oliveira, Fernandes 2009: "A
Physiologically-based Model for Simulation of Color Vision Deficiency"). Hatching, dashes, markers
or places say the same a second time.
"""

from collections.abc import Mapping

# Name of a role -> colour on light ground. Tier m is `tier{m}`, the m-th pair of tiers that DMA
# joins is `pair{m}`; `cascade` is for cascades and their line buffers, `on-rect` for text on any
# rectangle.
LIGHT: Mapping[str, str] = {
    "bg": "#f6f7f9",
    "panel": "#ffffff",
    "ink": "#17202b",
    "soft": "#566270",
    "line": "#dde2e8",
    "sunken": "#eef1f4",
    "accent": "#1f5fbf",
    "accent-ink": "#ffffff",
    "good": "#1a7f4e",
    "on-rect": "#14202e",
    "weight": "#86a8f0",
    "activation": "#f0a845",
    "input": "#78ddb6",
    "output": "#b884ad",
    "state": "#ee7070",
    "cascade": "#e8d800",
    "compute": "#6b86a1",
    "overhead": "#4a4d50",
    "idle": "#c9d0d8",
    "stall": "#c8382c",
    "tier0": "#1b937b",
    "tier1": "#b3541e",
    "tier2": "#9c7c49",
    "tier3": "#5c2d67",
    "pair0": "#3a50b0",
    "pair1": "#8f3277",
    "pair2": "#5f8dca",
    "pair3": "#ab6d12",
    "pair4": "#00763a",
    "pair5": "#9c7d7a",
}
# The same roles on dark ground.
DARK: Mapping[str, str] = {
    "bg": "#10151c",
    "panel": "#182029",
    "ink": "#e8edf3",
    "soft": "#9daab8",
    "line": "#2b3743",
    "sunken": "#131a22",
    "accent": "#7db0ff",
    "accent-ink": "#0d1520",
    "good": "#5fd39b",
    "on-rect": "#0b1118",
    "weight": "#6a98dd",
    "activation": "#e39937",
    "input": "#74d9a9",
    "output": "#e0aee3",
    "state": "#f07a7a",
    "cascade": "#f0e68a",
    "compute": "#b3cfee",
    "overhead": "#757779",
    "idle": "#3b4753",
    "stall": "#ff6a5c",
    "tier0": "#5fc0a6",
    "tier1": "#e07a3f",
    "tier2": "#ddc587",
    "tier3": "#9a5c9f",
    "pair0": "#baa8f7",
    "pair1": "#cb5eae",
    "pair2": "#2a85df",
    "pair3": "#f5a950",
    "pair4": "#57daa9",
    "pair5": "#eb7465",
}
# Kinds of tensors, in the order of legends.
KINDS = ("weight", "activation", "input", "output", "state")
# Opacities of the rectangles of a kind: neighbours differ a little, so that edges are seen.
SHADES = (1.0, 0.9, 0.8)
# Numbers of colours of tiers and of pairs of tiers; further ones repeat the last and the first.
TIERS, PAIRS = 4, 6
# Colours of kinds of operators in a drawing of the graph, those that take most time first: Paul
# Tol's light ones, on which dark text is legible ...
OPERATORS = (
    "#99DDFF",
    "#EEDD88",
    "#AAAA00",
    "#FFAABB",
    "#44BB99",
    "#BBCC33",
    "#EE8866",
    "#77AADD",
)
# ... and of all further kinds.
OTHER_OPERATORS = "#DDDDDD"
# Colours of curves on white, Okabe and Ito's.
CURVES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#7F7F7F",
)


def css_variables(colours: Mapping[str, str]) -> str:
    """The colours as custom properties of CSS: `--weight: #86a8f0; ...`."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
