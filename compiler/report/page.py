"""The page: data and assets joined into one HTML file that loads nothing over the network."""

import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from ullage.compiler.common.palette import DARK, LIGHT, css_variables

# Assets of the page, in the order in which they are joined.
STYLES = ("report.css",)
SCRIPTS = (
    "model.js",
    "view.js",
    "lanes.js",
    "cascades.js",
    "maps.js",
    "side.js",
    "tables.js",
    "operators.js",
    "curves.js",
    "charts.js",
    "app.js",
    "link.js",
    "input.js",
)
# A place in the template that is filled; in one pass, since what is filled in may look like one.
_MARK = re.compile(r"\{\{(\w+)\}\}")


def render_page(data: Mapping[str, Any]) -> bytes:
    """One self-contained HTML file, UTF-8.

    Args:
        data: what `report_data` returned.
    """
    # Within a script element only `<` can end it; JSON may write it as an escape.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "title": escape(str(data["title"])),
        "style": "\n".join([_themes(), *map(_asset, STYLES)]),
        "data": text,
        "script": "\n".join(_asset(name) for name in SCRIPTS),
    }
    page = _MARK.sub(lambda mark: parts[mark[1]], _asset("report.html"))
    return page.encode()


def _themes() -> str:
    """The palette as custom properties of CSS."""
    return (
        f':root {{ {css_variables(LIGHT)} }}\n:root[data-theme="dark"] {{ {css_variables(DARK)} }}'
    )


@cache
def _asset(name: str) -> str:
    return files("ullage.compiler.report").joinpath("assets", name).read_text(encoding="utf-8")
