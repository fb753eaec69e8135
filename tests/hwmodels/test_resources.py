"""The table of ports and links: every column, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.frozen import changeable
from tests.support.targets import HAND, make_problem
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Transfer
from ullage.compiler.ir.target import Link, Tier
from ullage.hwmodels import resources as module
from ullage.hwmodels.resources import resources, resources_of

# Two queues from dram to sram, and a tier that cannot be written.
TARGET = replace(
    HAND,
    tiers=(*HAND.tiers, Tier("rom", 1000, 2.0, 7.0, 1, 5.0, 6.0, read_only=True)),
    links=(
        *HAND.links,
        Link("dram", "sram", 8.0, 0.5, 2.0, "second queue"),
        Link("rom", "dram", 4.0, 0.25, 1.5),
    ),
)
TABLE = resources_of(TARGET)


def test_every_column_is_the_targets() -> None:
    assert TABLE.tiers == ("sram", "dram", "rom")
    assert TABLE.links == ("dram->sram", "sram->dram", "second queue", "rom->dram")
    assert TABLE.tier_index == {"sram": 0, "dram": 1, "rom": 2}
    assert TABLE.link_index == {name: row for row, name in enumerate(TABLE.links)}
    assert TABLE.read_rate.tolist() == [100, 10, 2]
    assert TABLE.write_rate.tolist() == [50, 5, 0]  # whatever a read-only tier says of writing
    assert TABLE.move_rate.tolist() == [10, 5, 8, 4]
    assert TABLE.setup_s.tolist() == [0, 0, 0.5, 0.25]
    assert TABLE.source.tolist() == [1, 0, 1, 2]
    assert TABLE.destination.tolist() == [0, 1, 0, 1]
    assert TABLE.read_j.tolist() == [1, 10, 5]
    assert TABLE.write_j.tolist() == [2, 20, 6]
    assert TABLE.move_j.tolist() == [3, 4, 2, 1.5]
    assert TABLE.read_s.tolist() == pytest.approx([0.01, 0.1, 0.5])
    assert TABLE.write_s.tolist() == pytest.approx([0.02, 0.2, np.inf])
    assert TABLE.move_s.tolist() == pytest.approx([0.1, 0.2, 0.125, 0.25])
    assert TABLE.transfer_rates(2) == (10, 50, 8)
    assert TABLE.transfer_rates(3) == (2, 5, 4)


def test_a_problem_has_one_table() -> None:
    problem = make_problem({}, [], TARGET)
    assert resources(problem) is resources(problem)


def test_seconds_of_ports_and_links() -> None:
    read = np.array([[50.0, 0.0], [0.0, 3.0], [1.0, 4.0]])
    written = np.array([[10.0, 5.0], [0.0, 2.0], [0.0, 0.0]])
    assert TABLE.port_seconds(read, written).tolist() == pytest.approx(
        np.array([[0.5 + 0.2, 0.1], [0, 0.3 + 0.4], [0.5, 2]])
    )
    moved = np.array([[5.0, 0.0], [0.0, 1.0], [4.0, 2.0], [0.0, 8.0]])
    setups = np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    assert TABLE.link_seconds(moved, setups).tolist() == pytest.approx(
        np.array([[0.5, 0], [0, 0.2], [0.5 + 1, 0.25], [0, 2 + 0.75]])
    )


def test_writing_a_read_only_tier_is_refused_at_its_first_step() -> None:
    written = np.zeros((3, 4))
    written[2, 2:] = 7.0
    with pytest.raises(VerificationError, match="step 2 writes to rom") as caught:
        TABLE.port_seconds(np.zeros((3, 4)), written)
    assert caught.value.details == {"step": 2, "tier": "rom"}


@pytest.mark.parametrize(
    ("source", "destination", "name", "row"),
    [
        ("dram", "sram", "dram->sram", 0),
        ("sram", "dram", "sram->dram", 1),
        ("dram", "sram", "second queue", 2),
        ("rom", "dram", "rom->dram", 3),
        ("dram", "sram", "third queue", None),
        # A link's name alone is not enough: it must join these two tiers.
        ("sram", "dram", "dram->sram", None),
        ("dram", "dram", "dram->sram", None),
        ("rom", "sram", "rom->dram", None),
    ],
)
def test_a_link_is_found_by_its_name_and_ends(
    source: str, destination: str, name: str, row: int | None
) -> None:
    transfer = Transfer(0, 0, 4, source, destination, ((0, 4),), name)
    if row is not None:
        assert TABLE.link_of(transfer) == row
        return
    with pytest.raises(VerificationError, match="the target has dram->sram, sram->dram, second"):
        TABLE.link_of(transfer)
    with pytest.raises(VerificationError, match="the target has none"):
        resources_of(replace(TARGET, links=())).link_of(transfer)


def test_tables_of_resources_are_never_changed() -> None:
    assert changeable(module) == []
