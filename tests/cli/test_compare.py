"""`ullage compare`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli import COMPILE_KEYS, Json, has_types
from tests.support.registering import put_in_place
from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.units import format_time
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution


def test_compare_gives_each_solver_a_row(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    found = ask("compare", tiny, "--dim", "n=8")
    rows = {row["solver"]: row for row in found["rows"]}
    assert {"all-slow", "greedy", "msa"} <= set(rows)
    assert not {"auto", "no-spill"} & set(rows)
    # `divide` begins with a plan that is proven best, and has none of its own.
    assert [rows.pop("divide")["error"]["kind"]] == ["no_own_plan"]
    for row in rows.values():
        has_types(row, {**COMPILE_KEYS, "minimised": str})
        assert row["minimised"] == "latency"
        assert "chosen_solver" not in row
    assert len({row["lower_bound"] for row in rows.values()}) == 1
    assert rows["greedy"]["latency_s"] <= rows["all-slow"]["latency_s"]
    named = ask("compare", tiny, "--dim", "n=8", "--solvers", "msa, greedy")
    assert [row["solver"] for row in named["rows"]] == ["msa", "greedy"]
    out, _ = say("compare", tiny, "--dim", "n=8")
    for name, row in rows.items():
        line = next(line for line in out.splitlines() if line.startswith(f"│ {name} "))
        assert format_time(row["latency_s"]) in line
    orders = "every" if rows["greedy"]["bound_every_order"] else "this"
    title = f"of latency for {orders} order, proven by {rows['greedy']['bound_source']}"
    assert title in out
    peak = ask("compare", tiny, "--dim", "n=8", "--objective", "peak")
    assert [row["solver"] for row in peak["rows"]] == ["cpsat", "ilp", "no-spill"]


def test_compare_takes_a_schedule(
    ask: Json, say: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    path = saved(residual_network(size=32), tmp_path)
    given = ("compare", path, "--solvers", "greedy,all-slow", "--fast-memory", "6KiB")
    out, _ = say(*given, "--schedule", "cascade")
    assert "schedule cascade: lower bound" in " ".join(out.split())
    assert "for this schedule" in out
    ask("compile", path, "--fast-memory", "6KiB", "--schedule", "cascade", "-o", tmp_path)
    rows = ask(*given, "--schedule", tmp_path / "plan.json")["rows"]
    assert {row["schedule"] for row in rows} == {"cascade"}
    assert {row["schedule"] for row in ask(*given)["rows"]} == {"whole"}


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
def test_compare_breaks_no_cell_of_its_table(
    say: Callable[..., tuple[str, str]], tiny: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("ullage.cli.streams.PIPE_WIDTH", width)
    names = ("noisy-greedy", "greedy", "all-slow")
    out, _ = say("compare", tiny, "--dim", "n=8", "--solvers", ",".join(names))
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith("│")]
    assert sorted(row.split()[1] for row in rows) == sorted(names)
    assert all(row.endswith("│") and "…" not in row for row in rows)
    assert ("not shown in" in out) == (width < 160)


def test_compare_shows_a_solver_that_fails_beside_the_others(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers", "greedy,no-spill")
    good, bad = ask(*arguments)["rows"]
    assert good["verified"] is True
    assert bad["solver"] == "no-spill"
    assert bad["error"]["kind"] == "usage"
    out, err = say(*arguments)
    assert "no-spill" in out
    assert "cannot minimise latency" in err
    failed = ask("compare", tiny, "--dim", "n=8", "--solvers", "no-spill", code=2)
    assert failed["error"]["kind"] == "usage"


def test_compare_gives_traces_takes_parameters_and_draws(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, tmp_path: Path
) -> None:
    solvers = ("--solvers", "greedy,rl,evolution,noisy-greedy", "--param", "simulations=3")
    picture = tmp_path / "new" / "a.svg"
    found = ask("compare", tiny, "--dim", "n=8", *solvers, "--plot", picture)
    assert found["plot"] == str(picture)
    assert found["interrupted"] is False
    assert "evolution" in picture.read_text(encoding="utf-8")
    for row in found["rows"]:
        assert row["anytime"][-1][1] == row["value"]
        own = {"own_plan": True} if row["solver"] == "rl" else {}
        given = {} if row["solver"] == "greedy" else {"simulations": 3}
        assert row["solver_options"] == given | own
    out, _ = say("compare", tiny, "--dim", "n=8", *solvers, "--plot", tmp_path / "b.png")
    assert "b.png" in out
    for wrong in (("--plot", tmp_path / "a.pdf"), ("--param", "greedy.simulations=3")):
        failed = ask("compare", tiny, "--dim", "n=8", "--solvers", "greedy,rl", *wrong, code=2)
        assert failed["error"]["kind"] == "usage"


def test_compare_keeps_what_it_has_when_interrupted(
    ask: Json, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Solution:
        raise KeyboardInterrupt

    put_in_place("msa", stopped, monkeypatch)
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers")
    found = ask(*arguments, "greedy,msa,all-slow", code=130)
    assert [row["solver"] for row in found["rows"]] == ["greedy"]
    assert found["interrupted"] is True
    assert ask(*arguments, "msa,greedy", code=130)["error"]["kind"] == "interrupted"


def test_compare_tells_a_message_of_several_solvers_once(
    say: Callable[..., tuple[str, str]], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> Solution:
        raise UsageError("no link between the two")

    for name in ("cpsat", "divide", "rl"):
        put_in_place(name, refuses, monkeypatch)
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers", "greedy,cpsat,divide,rl,no-spill")
    out, err = say(*arguments)
    assert err.count("no link between the two") == 1
    assert "cpsat, divide, rl: no link between the two\n" in err
    assert "\nno-spill: " in f"\n{err}"
    assert all(f"│ {name} " in out for name in ("cpsat", "divide", "rl"))


def test_compare_marks_rows_that_ran_out_of_time(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(problem: Problem, _: object, budget: Budget) -> Solution:
        return replace(
            greedy.solve(problem, greedy.GreedyOptions(), budget), stop_reason="time limit"
        )

    put_in_place("msa", late, monkeypatch)
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers", "greedy,msa")
    rows = {row["solver"]: row for row in ask(*arguments)["rows"]}
    assert {n: r["stop_reason"] for n, r in rows.items()} == {
        "greedy": "finished",
        "msa": "time limit",
    }
    out, _ = say(*arguments)
    marked = [line.split()[1] for line in out.splitlines() if line.endswith("* │")]
    assert marked == ["msa"]
    assert "* ended by the time limit before it was done: msa" in out


@pytest.mark.parametrize("width", [60, 80])
def test_compare_says_what_was_minimised_where_that_is_not_what_was_asked(
    say: Callable[..., tuple[str, str]], tiny: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("ullage.cli.streams.PIPE_WIDTH", width)
    arguments = ("compare", tiny, "--dim", "n=8", "--target", "cosma", "--no-alias", "--solvers")
    out, _ = say(*arguments, "greedy,ilp")
    cells = {line.split()[1]: line.split()[3] for line in out.splitlines() if line.startswith("│")}
    assert cells == {"greedy": "latency", "ilp": "traffic"}
    assert max(map(len, out.splitlines())) <= width
