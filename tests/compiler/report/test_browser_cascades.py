"""The report of plans in parts in a real browser: boats, line buffers, tables, also on a phone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.compiler.report.test_browser import STROKES, cells, click_at, press, run, text_of
from tests.support.reports import data_of, in_parts, write_report
from ullage.compiler.common.units import format_size
from ullage.compiler.driver.cascades import WholePlan, cascades_detail
from ullage.compiler.report.data import report_data
from ullage.compiler.report.page import render_page
from ullage.compiler.report.subject import compiled_of
from ullage.hwmodels.cost import score

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# A point of the lane of cascades: the middle of a step, by its number.
IN_THE_LANE = """
const row = view.rows.find((one) => one.type === "cascades"), box = canvas.getBoundingClientRect();
return [px(at(arguments[0] + 0.5)) + box.left, row.top + row.height - 8 + box.top];
"""


@pytest.fixture
def page(browser: "Chrome", tmp_path: Path) -> Iterator["Chrome"]:
    """The report of a cascade of three operators in four stripes; no message on console."""
    browser.get(write_report(in_parts(), tmp_path / "report.html"))
    yield browser
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def colours_at(browser: "Chrome", *points: tuple[float, float]) -> list[str]:
    """The colours of the canvas at points of the window, all read at once."""
    colours = """const box = canvas.getBoundingClientRect();
    const { data: bytes } = ctx.getImageData(0, 0, canvas.width, canvas.height);
    return arguments[0].map(([x, y]) => {
      const column = Math.floor((x - box.left) * view.ratio);
      const line = Math.floor((y - box.top) * view.ratio);
      const [r, g, b] = bytes.slice(4 * (line * canvas.width + column));
      return "#" + [r, g, b].map((one) => one.toString(16).padStart(2, "0")).join("");
    });"""
    return list(run(browser, colours, points))


def test_boats_lie_over_their_operators(page: "Chrome") -> None:
    (cascade,) = data_of(in_parts())["cascades"]
    inside = run(page, IN_THE_LANE, cascade["steps"][4])
    behind = run(page, IN_THE_LANE, cascade["end"])
    roles = run(page, "return [colours.cascade, colours.sunken]")
    assert colours_at(page, inside, behind) == roles
    click_at(page, *inside)
    assert text_of(page, "#step-name") == "conv1 [rows 9:17)"
    facts = text_of(page, "#pane-tensor dl")
    assert "2 of 4" in facts
    assert "stripe 2 of 4" in facts
    page.find_elements("css selector", "#pane-tensor dl a")[1].click()  # the next part
    assert text_of(page, "#step-name") == "conv1 [rows 17:25)"


def test_hovering_over_a_boat_tells_the_cascade(page: "Chrome") -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    x, y = run(page, IN_THE_LANE, 2)
    actions = ActionBuilder(page)
    actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    told = text_of(page, "#tip")
    assert told.startswith("cascade of 3 operators, conv0 to conv2")
    assert "4 stripes of rows, 12 parts" in told
    assert "2 rows" in told


def test_the_table_of_cascades_and_the_way_to_their_steps(page: "Chrome") -> None:
    (row,) = data_of(in_parts())["summary"]["cascades_detail"]
    page.find_element("id", "tab-cascades").click()
    (row_texts,) = cells(page, "#cascade-table tbody tr")
    operators, cut, _, lines, halo, weights = (t.replace("\xa0", " ") for t in row_texts)
    assert operators == "conv0 \u2013 conv2 (3)"
    assert cut == "4 stripes of rows"
    sizes = [format_size(row[key]) for key in ("buffered_bytes", "between_bytes")]
    assert lines == " of ".join(sizes)
    assert halo == f"{format_size(row['halo_bytes'])} kept, 2 rows"
    assert weights.startswith(format_size(row["weight_bytes"]))
    page.find_element("css selector", "#cascade-table a").click()
    begin, end = run(page, "return [clock[cascades[0].first], clock[cascades[0].end]]")
    shown = run(page, "return [view.from, view.to]")
    assert shown[0] <= begin < end <= shown[1] < run(page, "return axisEnd()")


def test_what_is_saved_stands_beside_where_whole_operators_were_planned(
    browser: "Chrome", tmp_path: Path
) -> None:
    plan = in_parts()
    (slow_bytes,) = [row["slow_bytes"] for row in cascades_detail(plan, score(plan), None)]
    whole = WholePlan(1.0, 9999, (4 * slow_bytes,))
    data = report_data(replace(compiled_of(plan), whole=whole))
    page = tmp_path / "report.html"
    page.write_bytes(render_page(data))
    browser.get(page.as_uri())
    browser.find_element("id", "tab-cascades").click()
    columns = cells(browser, "#cascade-table thead tr")[0]
    saved = cells(browser, "#cascade-table tbody tr")[0][columns.index("saved")]
    assert saved.replace("\xa0", " ") == f"{format_size(3 * slow_bytes)} (75.0 %)"
    assert "whole operators: 1 s of latency" in text_of(browser, "#pane-cascades")
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_bounds_are_those_of_the_schedule(page: "Chrome") -> None:
    assert "for this schedule" in text_of(page, "[data-figure=gap]").replace("\xa0", " ")
    assert "No plan of this schedule" in text_of(page, "#pane-overview")


def test_parts_are_folded_into_their_operators(page: "Chrome") -> None:
    page.find_element("id", "tab-operators").click()
    rows = cells(page, "#operator-table tbody tr")
    assert sorted(row[0].split(": ")[1] for row in rows) == ["conv0", "conv1", "conv2", "conv3"]
    assert sum(int(row[1].split()[-1]) for row in rows) == 3 * 4 + 1
    assert "4 operators in 13 parts" in text_of(page, "#pane-operators")
    page.find_element("css selector", "button.fold").click()
    assert len(cells(page, "#operator-table tr.part")) == 4
    page.find_element("css selector", "button.fold").click()
    assert cells(page, "#operator-table tr.part") == []
    assert run(page, "return operatorCsv().trim().split('\\n').length") == 1 + 13


def test_search_finds_operators_once_and_parts_by_their_ranges(page: "Chrome") -> None:
    page.find_element("id", "search").send_keys("conv1")
    assert text_of(page, "#matches") == "1"
    press(page, *"\b" * 5, *"rows 0:9")
    assert run(page, "return view.found.steps.map((t) => steps.name[t])") == ["conv1 [rows 0:9)"]


def test_line_buffers_have_their_own_colour(page: "Chrome") -> None:
    run(page, "if (view.arrows) toggleArrows(); draw();")
    centre = """const row = view.maps[0], box = canvas.getBoundingClientRect(), wide = [];
    for (let r = 0; r < R; r += 1) {
      if (residencies.tier[r] === 0 && residencies.line_buffer[r]) wide.push(rectangle(row, r));
    }
    const [x, y, w, h] = wide.sort((a, b) => b[2] * b[3] - a[2] * a[3])[0];
    return [x + 2 + box.left, y + 2 + box.top];"""
    (shown,) = colours_at(page, run(page, centre))
    assert shown != run(page, "return colours.activation")
    assert int(shown[1:3], 16) > 180
    assert int(shown[5:], 16) < 90  # yellow, be its shade what it may
    assert "line buffer" in text_of(page, "#legend")


def test_a_thousand_parts_are_drawn_quickly(browser: "Chrome", tmp_path: Path) -> None:
    browser.get(write_report(in_parts(stripes=125, operators=8), tmp_path / "report.html"))
    assert run(browser, "return operatorSteps.length") == 1001
    counted = """let count = 0;
        for (const name of ["fillRect", "strokeRect", "fill", "stroke", "fillText", "strokeText"]) {
          const real = ctx[name].bind(ctx);
          ctx[name] = (...given) => { count += 1; real(...given); };
        }
        draw();
        return count;"""
    assert 0 < run(browser, counted) < STROKES
    browser.find_element("id", "tab-operators").click()
    assert len(cells(browser, "#operator-table tbody tr")) == 9
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("pane", ["overview", "operators", "cascades"])
def test_nothing_is_wider_than_a_phone(page: "Chrome", pane: str) -> None:
    sizes = {"width": 420, "height": 860, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    try:
        run(page, "showPane(arguments[0])", pane)
        assert run(page, "return document.documentElement.scrollWidth") <= 420
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
