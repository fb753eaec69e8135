"""Wide tests: of a grid of parameters a share runs, and all of it with `--wide`."""

from collections import defaultdict
from hashlib import sha256

import pytest

from tests.support import wide


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--wide", action="store_true", help="run all parameters of tests that are marked as wide"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--wide"):
        wide.ask_for_all()
    config.addinivalue_line(
        "markers",
        "wide(keep): of all parameters with which this test is called so many run unless --wide is "
        "given: always the same, chosen by the hash of their names; 0: none",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--wide"):
        return
    grids: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("wide")
        if mark is not None:
            grids[item.nodeid.split("[")[0], mark.args[0]].append(item)
    left_out: set[pytest.Item] = set()
    for (_, keep), grid in grids.items():
        left_out.update(sorted(grid, key=lambda item: sha256(item.name.encode()).digest())[keep:])
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
