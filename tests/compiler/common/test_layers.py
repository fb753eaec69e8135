"""Mappings and sets in layers."""

from ullage.compiler.common.layers import Layers, Names


def test_an_inner_layer_sees_the_outer_one_and_leaves_it_alone() -> None:
    outer: Layers[int] = Layers()
    outer["a"], outer["b"] = 1, 2
    inner = Layers(outer)
    inner["b"], inner["c"] = 3, 4
    assert dict(inner) == {"a": 1, "b": 3, "c": 4}
    assert dict(outer) == {"a": 1, "b": 2}
    assert len(inner) == 3
    assert "a" in inner
    assert inner.get("z") is None
    assert inner.get("z", 9) == 9
    assert inner.own == {"b": 3, "c": 4}


def test_what_is_deleted_inside_remains_outside() -> None:
    outer: Layers[int] = Layers()
    outer["a"] = 1
    inner = Layers(outer)
    del inner["a"]
    assert "a" not in inner
    assert "a" not in Layers(inner)
    assert outer["a"] == 1
    inner["a"] = 2
    assert inner["a"] == 2


def test_an_outer_layer_that_grows_is_seen_inside() -> None:
    outer: Layers[int] = Layers()
    inner = Layers(outer)
    outer["late"] = 1
    assert inner["late"] == 1


def test_names_are_sets_in_layers() -> None:
    outer = Names()
    outer.update(["a", "b"])
    inner = Names(outer)
    inner.add("c")
    inner.discard("a")
    assert set(inner) == {"b", "c"}
    assert set(outer) == {"a", "b"}
    assert len(inner) == 2
