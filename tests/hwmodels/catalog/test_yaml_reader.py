"""Hostile target files end in usage errors."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.target_files import chip, refused, write
from ullage.compiler.common.errors import UsageError
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.catalog.yaml_reader import MAX_FILE_BYTES, read_yaml_mapping

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


HOSTILE = {
    "empty": ("", "must be a mapping"),
    "list": ("- 1\n- 2\n", "found a list"),
    "text": ("hello", "found a str"),
    "bomb": (BOMB, "anchors and aliases"),
    "loop": ("a: &a [*a]", "anchors and aliases"),
    "tag": ("!!python/object/apply:os.system ['true']", "tags"),
    "binary tag": ("name: !!binary aGVsbG8=", "tags"),
    "merge": ("<<: {a: 1}", "merge keys"),
    "twice": ("name: a\nname: b", "stands twice"),
    "deep": ("[" * 5000, "larger than"),
    "deep mappings": ("{a: " * 5000, "larger than"),
    "wide": ("name: [" + "1," * 30_000 + "]", "larger than"),
    "huge integer": ("name: " + "9" * 100_000, "longer than"),
    "huge sexagesimal": ("name: 1" + ":59" * 100_000, "longer than"),
    "large hexadecimal": ("name: 0x" + "f" * 1900, "is missing"),
    "not a date": ("name: 2001-13-45", "description: is missing"),
    "two documents": ("a: 1\n---\nb: 2", "not a readable YAML"),
    "unhashable key": ("? [1]\n: 2", "not a readable YAML"),
    "control": ("name: \x00", "not a readable YAML"),
    "large": ("#" * (MAX_FILE_BYTES + 1), "larger than 1000000 bytes"),
    "odd keys": (
        "name: a\ndescription: b\nnull: 1\n1.5: 2\ntrue: 3",
        "1.5: found 1.5: Keys should be strings",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_end_in_a_usage_error(tmp_path: Path, case: str) -> None:
    text, complaint = HOSTILE[case]
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_target(path)
    assert path in caught.value.message
    assert len(caught.value.message) < 3000


def test_large_hexadecimal_in_a_field(tmp_path: Path) -> None:
    text = yaml.safe_dump(chip()).replace("value: 16\n", f"value: 0x{'f' * 1900}\n")
    assert "an integer of 7600 bits" in refused(write(tmp_path, text)).message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"name: \xff\xfe\xfa")
    assert "not a readable YAML" in refused(str(path)).message


FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the file is rewritten
)


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_node_anywhere_is_accepted_or_a_usage_error(tmp_path: Path, data: Any) -> None:
    document = chip()
    node: Any = document
    while True:
        keys = list(range(len(node))) if isinstance(node, list) else list(node)
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(NODES)
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    try:
        target = load_target(str(path))
    except UsageError:
        return
    assert min(t.capacity_bytes for t in target.tiers) >= 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=60) | st.text("[]{}:,&*!?-|>%@'\"#<0x_.~ \na1").map(str.encode))
def test_any_bytes_end_in_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(content)
    refused(str(path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("4e9", "4e9"),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = read_yaml_mapping(Path(write(tmp_path, f"key: {text}")))["key"]
    assert found == value
    assert type(found) is type(value)


def test_a_switch_is_true_or_false(tmp_path: Path) -> None:
    text = yaml.safe_dump(chip()) + "\nsplit_operands: on\n"
    assert "split_operands: found 'on': Input should be a valid boolean" in (
        refused(write(tmp_path, text)).message
    )
