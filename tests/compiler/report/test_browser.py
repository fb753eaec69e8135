"""The report in a real browser: it draws, answers to pointer and keys, and says what the plan says.

Coordinates of tensors come from the page's own functions; what is checked is what happens there.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.changes import with_program
from tests.support.plans import (
    ANY,
    chain,
    fastest,
    flash,
    plan,
    prefetch,
    problem,
    residual,
    spill,
    wrapped,
)
from tests.support.reports import large_page, write_report
from ullage.compiler.common.palette import DARK, LIGHT
from ullage.compiler.common.units import format_count, format_energy, format_size, format_time
from ullage.compiler.driver.operators import operators_detail
from ullage.compiler.driver.summary_text import gap_text, middle_cut, percent
from ullage.compiler.emit.csv_operators import operators_csv
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import PlacedValue
from ullage.compiler.report.extras import Extras
from ullage.compiler.report.subject import compiled_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Strokes of the pen in one picture of some 10,000 residencies and as many transfers, at most.
STROKES = 30_000

# Centre of a buffer's largest residency on the page, by the buffer's name.
CENTRE = """
const b = buffers.name.indexOf(arguments[0]), box = canvas.getBoundingClientRect();
let best = null;
for (const r of residenciesOf[b]) {
  const row = view.maps.find((map) => map.tier === residencies.tier[r]);
  const [x, y, width, height] = rectangle(row, r);
  if (!best || width * height > best[0]) best = [width * height, x + width / 2, y + height / 2];
}
return [best[1] + box.left, best[2] + box.top];
"""


def nothing() -> Plan:
    """A plan of no operators."""
    return plan(ANY, problem("nothing", (), (None, None)), [])


@pytest.fixture
def page(browser: "Chrome", tmp_path: Path) -> Iterator["Chrome"]:
    """The report of a plan with a spill, with a comparison and a sweep; no message on console."""
    row = {
        "solver": "greedy",
        "value": 3e-8,
        "lower_bound": 2e-8,
        "gap": 0.5,
        "speedup_over_all_slow": 1.2,
        "transfers": 2,
        "solve_s": 0.1,
    }
    sizes = [{**row, "fast_memory_bytes": size, "value": 2e-6 / size} for size in (32, 64, 128)]
    extras = Extras(compare=(row, {"solver": "no-spill", "error": "infeasible"}), sweep=(*sizes,))
    browser.get(write_report(spill(), tmp_path / "report.html", extras))
    yield browser
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def press(browser: "Chrome", *keys: str) -> None:
    """Press keys where the focus is."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def click_at(browser: "Chrome", x: float, y: float) -> None:
    """A real click at a point of the window."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    actions = ActionBuilder(browser)
    actions.pointer_action.move_to_location(round(x), round(y))
    actions.pointer_action.click()
    actions.perform()
    ActionChains(browser).pause(0.05).perform()


def text_of(browser: "Chrome", selector: str) -> str:
    return str(browser.find_element("css selector", selector).text)


def run(browser: "Chrome", script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)  # type: ignore[no-untyped-call]


def test_a_click_on_a_tensor_shows_it(page: "Chrome") -> None:
    click_at(page, *run(page, CENTRE, "b"))
    assert text_of(page, "#tensor-name") == "b"
    shown = text_of(page, "#pane-tensor")
    assert "48 B (48 bytes)" in shown
    assert "activation" in shown
    assert "3: op3" in shown
    click_at(page, *run(page, CENTRE, "a"))
    assert text_of(page, "#tensor-name") == "a"
    assert "sram \u2192 dram" in text_of(page, "#pane-tensor")
    assert "4\u20136, ready 5" in text_of(page, "#pane-tensor")


def test_hovering_names_the_tensor(page: "Chrome") -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    x, y = run(page, CENTRE, "b")
    actions = ActionBuilder(page)
    actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    assert text_of(page, "#tip").startswith("b\n")


def test_a_click_on_a_lane_shows_the_step(page: "Chrome") -> None:
    where = """const row = view.rows[1], box = canvas.getBoundingClientRect();
    return [px(at(3.5)) + box.left, row.top + row.height / 2 + box.top];"""
    click_at(page, *run(page, where))
    assert text_of(page, "#step-name") == "op3"
    assert "bound by\n" in text_of(page, "#pane-tensor")


def test_search_finds_and_goes_through_matches(page: "Chrome") -> None:
    field = page.find_element("id", "search")
    field.send_keys("b")
    assert text_of(page, "#matches") == "1"
    assert run(page, "return [...view.hits].map((b) => buffers.name[b])") == ["b"]
    press(page, "\ue007")  # enter
    assert text_of(page, "#tensor-name") == "b"
    press(page, "\ue00c")  # escape
    assert run(page, "return view.hits === null && view.selected.buffer === -1")
    field.send_keys("nothing like it")
    assert text_of(page, "#matches") == "0"


def test_seconds_are_the_axis_until_one_asks_for_steps(page: "Chrome") -> None:
    assert run(page, "return view.seconds && view.from === 0 && view.to === total")
    assert page.find_element("id", "axis-seconds").get_attribute("aria-pressed") == "true"
    page.find_element("id", "axis-steps").click()
    assert run(page, "return !view.seconds && view.to === T")
    assert page.find_element("id", "axis-steps").get_attribute("aria-pressed") == "true"


def test_a_plan_that_takes_no_time_is_shown_over_steps(browser: "Chrome", tmp_path: Path) -> None:
    browser.get(write_report(nothing(), tmp_path / "report.html"))
    assert run(browser, "return [view.seconds, view.from, view.to]") == [False, 0, 2]


def test_keys_zoom_pan_and_turn_the_axis(page: "Chrome") -> None:
    page.find_element("id", "canvas").click()
    press(page, "\ue00c", "+", "+")
    zoomed = run(page, "return [view.from, view.to]")
    assert 0 < zoomed[0] < zoomed[1] < run(page, "return total")
    press(page, "\ue014")  # right
    assert run(page, "return view.from") > zoomed[0]
    press(page, "0", "s")
    assert run(page, "return !view.seconds && view.to === T")
    press(page, "s")
    assert run(page, "return view.seconds && view.to === total")
    press(page, "x", "t")
    assert run(page, "return view.arrows") is False
    assert run(page, "return document.documentElement.dataset.theme") == "dark"
    press(page, "?")
    assert "pan" in text_of(page, "#keys")


def test_dragging_pans_and_the_wheel_zooms(page: "Chrome") -> None:
    from selenium.webdriver import ActionChains

    canvas = page.find_element("id", "canvas")
    ActionChains(page).scroll_from_origin(_middle(canvas), 0, -300).perform()
    before = run(page, "return [view.from, view.to]")
    assert before[1] - before[0] < 0.9 * run(page, "return axisEnd()")
    ActionChains(page).move_to_element(canvas).click_and_hold().move_by_offset(-80, 0).perform()
    ActionChains(page).release().perform()
    assert run(page, "return view.from") > before[0]
    assert run(page, "return view.selected.buffer") == -1


def _middle(element: Any) -> Any:
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_panes_show_comparison_and_sweep(page: "Chrome") -> None:
    page.find_element("id", "tab-compare").click()
    assert "infeasible" in text_of(page, "#pane-compare")
    page.find_element("id", "tab-sweep").click()
    circles = page.find_elements("css selector", "#pane-sweep circle")
    assert len(circles) == 3 + 1  # three plans and the ring of this one
    page.find_element("id", "tab-tensors").click()
    assert len(page.find_elements("css selector", "#tensor-table tbody tr")) == 4


def cells(browser: "Chrome", selector: str) -> list[list[str]]:
    """The texts of a table's body."""
    return run(  # type: ignore[no-any-return]
        browser,
        """return [...document.querySelectorAll(arguments[0])].map(
          (row) => [...row.cells].map((cell) => cell.textContent))""",
        selector,
    )


def test_the_operators_are_those_of_the_document(page: "Chrome") -> None:
    compiled = compiled_of(spill())
    rows = operators_detail(compiled.plan, compiled.score)
    page.find_element("id", "tab-operators").click()
    shown = cells(page, "#operator-table tbody tr")
    worst_first = sorted(rows, key=lambda row: (-float(f"{row['elapsed_s']:.6g}"), row["step"]))
    assert [row[0] for row in shown] == [f"{row['step']}: {row['name']}" for row in worst_first]
    for texts, row in zip(shown, worst_first, strict=True):
        assert texts[1:] == [
            row["kind"],
            format_time(row["elapsed_s"]),
            percent(row["share"], 1.0),
            row["bound_by"],
            format_time(row["stall_s"]),
            str(row["macs"]),
            percent(row["utilisation"], 1.0),
            *map(format_size, row["bytes"].values()),
        ]


def test_operators_are_sorted_by_any_column(page: "Chrome") -> None:
    compiled = compiled_of(spill())
    rows = operators_detail(compiled.plan, compiled.score)
    page.find_element("id", "tab-operators").click()
    columns = cells(page, "#operator-table thead tr")[0]
    assert columns[2].startswith("time")
    headings = "#operator-table th button"
    page.find_elements("css selector", headings)[columns.index("dram")].click()
    most = max(row["bytes"]["dram"] for row in rows)
    assert cells(page, "#operator-table tbody tr")[0][columns.index("dram")] == format_size(most)
    page.find_elements("css selector", headings)[columns.index("dram")].click()
    least = min(row["bytes"]["dram"] for row in rows)
    assert cells(page, "#operator-table tbody tr")[0][columns.index("dram")] == format_size(least)
    sorted_by = (
        "return document.querySelector('#operator-table th[aria-sort=ascending]').textContent"
    )
    assert run(page, sorted_by).startswith("dram")
    page.find_elements("css selector", headings)[0].click()
    names = [row[0] for row in cells(page, "#operator-table tbody tr")]
    assert names == sorted(names)


def test_the_operators_are_downloaded_as_the_emitter_writes_them(
    page: "Chrome", tmp_path: Path
) -> None:
    place = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", place)  # type: ignore[no-untyped-call]
    page.find_element("id", "tab-operators").click()
    page.find_element("id", "operator-csv").click()
    path = tmp_path / "operators.csv"
    for _ in range(100):
        if path.is_file() and path.stat().st_size:
            break
        press_nothing(page)
    found = [*csv.reader(io.StringIO(path.read_text()))]
    wanted = [*csv.reader(io.StringIO(operators_csv(compiled_of(spill()))))]
    assert found[0] == wanted[0]
    assert len(found) == len(wanted)
    for row, other in zip(found[1:], wanted[1:], strict=True):
        for text, same in zip(row, other, strict=True):
            assert text == same or float(text) == pytest.approx(float(same), rel=1e-5, abs=1e-12)


def press_nothing(browser: "Chrome") -> None:
    """Let a twentieth of a second pass."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).pause(0.05).perform()


def test_names_that_look_like_formulas_or_hold_commas_are_made_harmless(page: "Chrome") -> None:
    texts = ["=1+1", "@a", "-b", "plain", 'say "a, b"']
    said = run(page, "return arguments[0].map(csvCell)", texts)
    assert said == ["'=1+1", "'@a", "'-b", "plain", '"say ""a, b"""']


def test_a_link_restores_what_was_shown(page: "Chrome") -> None:
    page.find_element("id", "canvas").click()
    press(page, "\ue00c")
    page.find_element("id", "axis-steps").click()
    run(page, "select({ buffer: buffers.name.indexOf('b') }); show(1.5, 4.5)")
    state = """return [view.seconds, view.from, view.to, view.selected.buffer, view.selected.step,
        view.big]"""
    before = run(page, state)
    address = address_of(page, "tensor=b")
    for parameter in ("axis=steps", "from=1.5", "to=4.5"):
        assert parameter in address
    page.get("about:blank")
    page.get(address)
    assert run(page, state) == before
    assert text_of(page, "#tensor-name") == "b"
    run(page, "select({ step: 3 }); useAxis(true); fit(); showPane('operators'); view.big = 1")
    address = address_of(page, "step=3")
    assert "from=" not in address
    assert "tier=dram" in address
    page.get("about:blank")
    page.get(address)
    assert run(page, state) == [True, 0, run(page, "return total"), -1, 3, 1]
    assert run(page, "return pane") == "operators"
    run(page, "location.hash = 'tensor=a&axis=seconds'")
    press_nothing(page)
    assert text_of(page, "#tensor-name") == "a"


def test_a_link_restores_a_zoom_in_addresses(browser: "Chrome", tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_bytes(large_page())
    browser.get(f"{path.as_uri()}#addresses=dram:1000-2000&addresses=sram:9-2&addresses=no:1-2")
    assert run(browser, "return view.address") == [None, [1000, 2000]]
    run(browser, "showAddresses(1, 4000, 6000)")
    address = address_of(browser, "addresses=dram%3A4000-6000")
    browser.get("about:blank")
    browser.get(address)
    assert run(browser, "return view.address") == [None, [4000, 6000]]


def address_of(browser: "Chrome", part: str) -> str:
    """The page's address, once it holds a part."""
    for _ in range(100):
        address = str(run(browser, "return location.href"))
        if part in address:
            break
        press_nothing(browser)
    assert part in address
    assert run(browser, "return document.getElementById('link').href") == address
    return address


@pytest.mark.parametrize(
    "fragment",
    [
        "tensor=other",
        "step=99",
        "step=x",
        "step=-1",
        "from=5&to=2",
        "from=nan&to=1",
        "&=%",
        "tier=no",
    ],
)
def test_a_link_to_something_else_shows_the_whole(
    browser: "Chrome", tmp_path: Path, fragment: str
) -> None:
    browser.get("about:blank")
    browser.get(f"{write_report(spill(), tmp_path / 'report.html')}#{fragment}")
    state = "return [view.from === 0, view.to === total, view.selected.buffer, view.selected.step]"
    assert run(browser, state) == [True, True, -1, -1]
    told = "does not have" in text_of(browser, "#panes")
    assert told == fragment.startswith(("tensor", "step"))
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_every_value_of_a_rectangle_is_listed(browser: "Chrome", tmp_path: Path) -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    browser.get(write_report(shared(), tmp_path / "report.html"))
    x, y = run(browser, CENTRE, "a")
    actions = ActionBuilder(browser)
    actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    assert "holds a, a_view, a_sum" in text_of(browser, "#tip")
    click_at(browser, x, y)
    for name in ("a", "a_view", "a_sum"):
        assert name in [row[0] for row in cells(browser, "#pane-tensor table:last-child tbody tr")]


def shared() -> Plan:
    """The chain, with three values in the bytes of a."""
    made = chain()
    first = made.problem.buffers[1]
    values = [PlacedValue(name, 0, first.size_bytes) for name in ("a", "a_view", "a_sum")]
    buffers = (
        made.problem.buffers[0],
        replace(first, values=tuple(values)),
        made.problem.buffers[2],
    )
    return replace(made, problem=with_program(made.problem, buffers=buffers))


def test_pairs_of_tiers_have_their_colours(browser: "Chrome", tmp_path: Path) -> None:
    browser.get(write_report(flash(), tmp_path / "report.html"))
    read = "return [...pairOf].map((pair) => colours[pairColour(pair)])"
    arrows = run(browser, read)
    assert len(arrows) == len(set(arrows)) == 2  # flash -> dram, dram -> sram
    lanes = run(
        browser, "return view.rows.filter((r) => r.type === 'link').map((r) => colours[r.colour])"
    )
    assert {*lanes} == {*arrows}
    legend = text_of(browser, "#legend")
    assert "\u2191 flash \u2192 dram" in legend
    assert "\u2191 dram \u2192 sram" in legend


def test_the_page_and_the_map_have_the_palette(page: "Chrome") -> None:
    shown = run(page, "useTheme('light'); return colours")
    assert shown == dict(LIGHT)
    shown = run(page, "useTheme('dark'); return colours")
    assert shown == dict(DARK)


def test_names_are_cut_in_their_middle(page: "Chrome") -> None:
    name = "model/layers.17/self_attention/q_proj/MatMul"
    for room in (9, 10, 24, 100):
        assert run(page, "return middleCut(...arguments)", name, room) == middle_cut(name, room)


def test_a_narrow_column_cuts_names_in_their_middle(browser: "Chrome", tmp_path: Path) -> None:
    long = "network/stage_3/block_17/branch_b/weights_" + "x" * 9
    made = spill()
    buffers = tuple(
        replace(b, name=f"{long}_{i}" if i else "w") for i, b in enumerate(made.problem.buffers)
    )
    renamed = replace(made, problem=with_program(made.problem, buffers=buffers))
    browser.get(write_report(renamed, tmp_path / "report.html"))
    try:
        browser.set_window_size(1280, 720)
        for pane in ("overview", "tensors"):
            browser.find_element("id", f"tab-{pane}").click()
            shown = run(
                browser,
                """const links = document.querySelectorAll(`#pane-${arguments[0]} td.tensor a`);
                return [...links].map((a) => {
                  const cell = a.closest("td").getBoundingClientRect();
                  const [head, tail] = [".head", ".tail"].map((part) => a.querySelector(part));
                  return [a.textContent, head.scrollWidth > head.clientWidth, tail.textContent,
                    tail.getBoundingClientRect().right <= cell.right + 0.5];
                })""",
                pane,
            )
            assert shown, pane
            assert all(inside for *_, inside in shown), (pane, shown)
            for text, cut, tail, _ in shown:
                assert text.endswith(tail)
                assert cut or text == "w" or pane == "tensors", (pane, text)
    finally:
        browser.set_window_size(1400, 900)


@pytest.mark.parametrize("width", [400, 800, 1024, 1280, 1440, 1920])
def test_nothing_reaches_over_the_window(page: "Chrome", width: int) -> None:
    try:
        page.set_window_size(width, 800)
        over = run(
            page,
            """const wide = document.documentElement.clientWidth;
            return [document.documentElement.scrollWidth - wide, ...[...document.querySelectorAll(
              "#figures, #figures b, #figures span, header, main > *")].map(
              (e) => Math.max(e.getBoundingClientRect().right - wide,
                e.scrollWidth - e.clientWidth - 1)
            )].filter((d) => d > 0.5)""",
        )
        assert over == []
    finally:
        page.set_window_size(1400, 900)


def test_ticks_of_charts_are_round(page: "Chrome") -> None:
    labels = run(
        page,
        """showPane("sweep"); return [...document.querySelectorAll("#pane-sweep .tick")].map(
          (text) => text.textContent)""",
    )
    assert labels == ["0 s", "20 ns", "40 ns", "60 ns"]
    assert run(page, "return logTicks(0.3, 4)") == [0.5, 1, 2]
    assert run(page, "return logTicks(1e-4, 30)") == [1e-4, 1e-3, 1e-2, 0.1, 1, 10]
    assert run(page, "return logTicks(1.1, 1.9)") == [1.1, 1.9]
    sizes = """summary.objective = "traffic"; return valueTicks(0, 5000, 150).map(objectiveText)"""
    assert run(page, sizes) == ["0 B", "1 KiB", "2 KiB", "3 KiB", "4 KiB"]


def test_equal_curves_lie_side_by_side_and_dots_mark_better_plans(
    browser: "Chrome", tmp_path: Path
) -> None:
    def row(solver: str, *anytime: tuple[float, float]) -> dict[str, Any]:
        value = anytime[-1][1]
        return {
            "solver": solver,
            "value": value,
            "lower_bound": 2e-8,
            "gap": value / 2e-8 - 1,
            "speedup_over_all_slow": 1.2,
            "transfers": 2,
            "solve_s": 2.0,
            "anytime": [list(point) for point in anytime],
        }

    rows = (
        row("one", (0.1, 4e-8), (1.0, 3e-8)),
        row("two", (0.2, 4e-8), (1.0, 3e-8)),
        row("other", (0.1, 2.5e-8)),
        row("far", (0.1, 9e-7)),
    )
    browser.get(write_report(spill(), tmp_path / "report.html", Extras(compare=rows)))
    browser.find_element("id", "tab-compare").click()
    dots = run(
        browser,
        """return [...document.querySelectorAll("#curves circle")].map(
          (dot) => [dot.textContent, Number(dot.getAttribute("cy"))])""",
    )
    heights = dict(dots)
    assert len(heights) == 5
    apart = heights["one after 1 s: 30 ns"] - heights["two after 1 s: 30 ns"]
    assert apart == pytest.approx(run(browser, "return APART"))
    assert "Far above: far." in text_of(browser, "#pane-compare")
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_every_kind_and_the_arrows_are_drawn(page: "Chrome") -> None:
    press(page, "\ue00c")
    colour = """draw(); const b = buffers.name.indexOf("b"), r = residenciesOf[b][0];
    const [x, y, width, height] = rectangle(view.maps[0], r);
    const at_ = (pixel) => (pixel - 4) * view.ratio;
    return [...ctx.getImageData(at_(x + width), at_(y + height), 1, 1).data];"""
    red, green, blue, _ = run(page, colour)
    assert red > green > blue  # activations are amber in both themes
    assert run(page, "return [...leavesFrom, ...arrivesIn].every((r) => r >= 0)")


def test_sizes_and_times_are_written_as_the_terminal_writes_them(page: "Chrome") -> None:
    sizes = [0, 1, 1023, 1024, 1536, 1048575, 1048576, 123456789, 2**40 + 5, -2048]
    sizes += [16000, 15488, -16000, 1049216]  # half-way between two decimals
    times = [0.0, 1.0, 0.99999, 0.01203, 1.5e-6, 9.9995e-7, 3e-9, 12345.6, 4e-10, 1.0625, 1000.5]
    assert run(page, "return arguments[0].map(sizeText)", sizes) == [*map(format_size, sizes)]
    assert run(page, "return arguments[0].map(timeText)", times) == [*map(format_time, times)]
    energies = [0.0, 2.5, 0.99999, 5.3594e-3, 4.554e-4, 5.12e-9, 3e-12, 4e-16, 1234.5]
    assert run(page, "return arguments[0].map(energyText)", energies) == [
        *map(format_energy, energies)
    ]
    counts = [0, 64, 51384, 0.5, 93.1412, 13123.4, 999999.9, 8388608, 1.25e8, 2.5e12, 7e18, 1.0625]
    assert run(page, "return arguments[0].map(countText)", counts) == [*map(format_count, counts)]
    shares = [0.0625, 0.00125, 1 / 3, 2e-6, 1e-7, 2.5e-6]
    assert run(page, "return arguments[0].map(gapText)", shares) == [*map(gap_text, shares)]
    found = run(page, "return arguments[0].map((share) => shareText(share, 1))", shares)
    assert found == [percent(share, 1.0) for share in shares]


def test_the_key_figures_are_the_plans(page: "Chrome") -> None:
    compiled = compiled_of(spill())
    latency = text_of(page, '[data-figure="latency"]')
    assert latency.split("\n")[1] == format_time(compiled.score.latency_s)
    assert text_of(page, '[data-figure="gap"]').split("\n")[1] == gap_text(compiled.gap)
    peak = format_size(compiled.score.peak_bytes["sram"])
    assert text_of(page, '[data-figure="peak"]').split("\n")[1] == peak


@pytest.mark.parametrize("made", [prefetch, residual])
def test_served_by_names_the_tiers_of_an_operand(
    browser: "Chrome", tmp_path: Path, made: Any
) -> None:
    browser.get(write_report(made(), tmp_path / "report.html"))
    served = run(browser, "return [...uses.step].map((_, use) => servedBy(use))")
    assert all(served)
    if made is prefetch:
        assert "sram 16 B, dram 16 B" in served


@pytest.mark.parametrize("made", [flash, wrapped, fastest, nothing])
def test_other_plans_are_drawn_without_a_message(
    browser: "Chrome", tmp_path: Path, made: Any
) -> None:
    browser.get(write_report(made(), tmp_path / "report.html"))
    for key in "s+0nnxm":
        press(browser, key)
    run(browser, "for (let t = 0; t < T; t += 1) { select({ step: t }, true); draw(); }")
    assert run(browser, "return document.documentElement.dataset.ready") == "true"
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_a_large_plan_is_drawn_with_few_strokes(browser: "Chrome", tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_bytes(large_page())
    browser.get(path.as_uri())
    assert run(browser, "return [R, X]") == [10802, 9600]
    counted = """let count = 0;
        for (const name of ["fillRect", "strokeRect", "fill", "stroke", "fillText", "strokeText"]) {
          const real = ctx[name].bind(ctx);
          ctx[name] = (...given) => { count += 1; real(...given); };
        }
        draw();
        const whole = count;
        for (let i = 0; i < 40; i += 1) { zoom(0.97); pan(0.01); }
        count = 0;
        draw();
        return [whole, count];"""
    whole, zoomed = run(browser, counted)
    assert 0 < whole < STROKES
    assert 0 < zoomed < STROKES
    run(browser, "fit(); draw()")
    assert text_of(browser, "#crowd").startswith("9600 transfers in view")
    run(browser, "show(clock[10], clock[20]); draw()")
    assert text_of(browser, "#crowd") == ""
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_nothing_is_loaded_and_print_shows_all_panes(browser: "Chrome", tmp_path: Path) -> None:
    browser.get(write_report(spill(), tmp_path / "report.html"))
    names = run(browser, "return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})  # type: ignore[no-untyped-call]
    assert len(printed["data"]) > 10_000
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
