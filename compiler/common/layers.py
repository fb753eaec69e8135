"""Mappings and sets in layers: an inner scope sees the names of the outer ones, and adds its own.

A layer costs what it adds. Nothing in an outer layer is changed through an inner one.
"""

from collections.abc import Iterable, Iterator, MutableMapping, MutableSet
from typing import TypeVar, overload

Item = TypeVar("Item")
Other = TypeVar("Other")


class Layers(MutableMapping[str, Item]):
    """A mapping from names on top of another one, the layer `outside`.

    Attributes:
        own: the names that this layer gives, with their items.
        hidden: names of outer layers that stand for nothing here.
        outside: the next outer layer.
    """

    def __init__(self, outside: "Layers[Item] | None" = None) -> None:
        self.own: dict[str, Item] = {}
        self.hidden: set[str] = set()
        self.outside = outside

    def _layer_of(self, name: object) -> "Layers[Item] | None":
        layer: Layers[Item] | None = self
        while layer is not None and name not in layer.own:
            layer = None if name in layer.hidden else layer.outside
        return layer

    def __contains__(self, name: object) -> bool:
        return name in self.own or (self.outside is not None and self._layer_of(name) is not None)

    def __getitem__(self, name: str) -> Item:
        if name in self.own:
            return self.own[name]
        layer = self._layer_of(name)
        if layer is None:
            raise KeyError(name)
        return layer.own[name]

    @overload
    def get(self, key: str, /) -> Item | None: ...
    @overload
    def get(self, key: str, default: Item | Other, /) -> Item | Other: ...
    def get(self, key: str, default: object = None, /) -> object:
        """The item of a name, else the default."""
        layer = self._layer_of(key)
        return default if layer is None else layer.own[key]

    def __setitem__(self, name: str, item: Item) -> None:
        self.own[name] = item

    def __delitem__(self, name: str) -> None:
        """Let a name stand for nothing here, whatever it stands for outside."""
        self.own.pop(name, None)
        if self.outside is not None:
            self.hidden.add(name)

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        if self.outside is not None:
            for name in self.outside:
                if name not in self.own and name not in self.hidden:
                    yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Names(MutableSet[str]):
    """A set of names on top of another one, `outside`; its names are those of `layers`."""

    def __init__(self, outside: "Names | None" = None) -> None:
        self.layers: Layers[None] = Layers(None if outside is None else outside.layers)

    def __contains__(self, name: object) -> bool:
        return name in self.layers

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def add(self, value: str) -> None:
        """Add a name."""
        self.layers[value] = None

    def update(self, values: Iterable[str]) -> None:
        """Add several names."""
        for value in values:
            self.add(value)

    def discard(self, value: str) -> None:
        """Take a name out, in this layer only."""
        del self.layers[value]
