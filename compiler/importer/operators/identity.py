"""Which operator a node stands for: its domain, type and version together.

The tables of this room (`optypes`, the rules for costs, sharing and shapes) are keyed by the names
of ONNX's own operators and of com.microsoft's. A node of another domain may bear any of these names
and mean something else, so that every look-up goes through `operator_key`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx

from ullage.compiler.importer.bounds import Attributes

# Spellings of ONNX's own domain.
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
MICROSOFT = "com.microsoft"
# Domains whose operators give the same result for the same operands.
PURE_DOMAINS = frozenset({*STANDARD_DOMAINS, MICROSOFT, "ai.onnx.ml", "ai.onnx.preview"})
# Operators that com.microsoft and ONNX both have, with the same operands and the same result.
ALIKE = frozenset(
    """DequantizeLinear QuantizeLinear Gelu Trilu Range GatherND Pad Unique QLinearConv GridSample
    """.split()
)
# onnxruntime has these in ONNX's domain, though ONNX has no schema for them.
ADOPTED = frozenset({"SimplifiedLayerNormalization"})
# Defaults that the text of a specification states and its schema does not: (type, first version
# without it) -> attributes.
UNSTATED_DEFAULTS: dict[tuple[str, int], dict[str, Any]] = {("Concat", 4): {"axis": 1}}


def standard_domain(domain: str) -> str:
    """The domain in the spelling that onnx uses: the standard one is empty."""
    return "" if domain in STANDARD_DOMAINS else domain


def version_of(node: onnx.NodeProto, opsets: Mapping[str, int]) -> int:
    """Version of the operator set that a node is of."""
    return opsets.get(standard_domain(node.domain), 1)


@cache
def schema_of(op_type: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    """The schema that onnx has of an operator in a version of its domain, None for none."""
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _standard_names() -> frozenset[str]:
    return frozenset(s.name for s in onnx.defs.get_all_schemas_with_history() if not s.domain)


@cache
def _key(op_type: str, version: int, domain: str) -> str:
    if not domain:
        known = op_type in ADOPTED or schema_of(op_type, version, "") is not None
        return op_type if known else f"ai.onnx.{op_type}"
    if domain == MICROSOFT and (op_type in ALIKE or op_type not in _standard_names()):
        return op_type
    return f"{domain}.{op_type}"


def operator_key(node: onnx.NodeProto, opsets: Mapping[str, int]) -> str:
    """The name under which the tables know what a node does.

    It is the operator's type for ONNX's own operators (of a version that has them) and for those of
    com.microsoft that mean what the name says; else the type behind its domain, such as
    `com.microsoft.Attention` (packed weights, unlike ONNX's) or `acme.npu.Transpose`. Where an
    attribute makes another operator of one (a BatchNormalization or Dropout that trains), the key
    says so.
    """
    key = _key(node.op_type, version_of(node, opsets), standard_domain(node.domain))
    if key in ("BatchNormalization", "Dropout") and _trains(node, opsets):
        return f"Training{key}"
    return key


def _trains(node: onnx.NodeProto, opsets: Mapping[str, int]) -> bool:
    """Whether a BatchNormalization takes statistics of its data, or a Dropout drops any.

    Dropout since operator set 12 is told by an operand, of which nothing is known here.
    """
    version, given = version_of(node, opsets), attributes(node, opsets)
    if version < 7:
        return not given.get("is_test", 0)
    if node.op_type == "Dropout":
        return False
    if version < 14:
        return sum(map(bool, node.output)) > 1
    return bool(given.get("training_mode", 0))


def key_in_words(key: str) -> str:
    """A key for a sentence: `Transpose`, or `Transpose of acme.npu`."""
    domain, _, op_type = key.rpartition(".")
    return f"{op_type} of {domain}" if domain else op_type


def is_pure(node: onnx.NodeProto, opsets: Mapping[str, int]) -> bool:
    """Whether a node's results follow from its operands, as far as anybody knows.

    Operators of unknown domains may keep state or draw random numbers. `optypes.RANDOM` has those
    of known domains that do.
    """
    if node.domain in STANDARD_DOMAINS:
        return operator_key(node, opsets) == node.op_type
    return node.domain in PURE_DOMAINS


@cache
def _defaults(op_type: str, version: int, domain: str) -> Attributes:
    """Values of attributes that a node may leave out, by the schema of its version."""
    schema = schema_of(op_type, version, domain)
    found: dict[str, Any] = {}
    for (unstated, until), attributes in UNSTATED_DEFAULTS.items():
        if not domain and op_type == unstated and version < until:
            found |= attributes
    for name, attribute in (schema.attributes if schema is not None else {}).items():
        if attribute.default_value.name:
            found[name] = onnx.helper.get_attribute_value(attribute.default_value)
    return found


def without_attributes(node: onnx.NodeProto, names: Collection[str]) -> onnx.NodeProto:
    """A copy of a node without some of its attributes."""
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    del kept.attribute[:]
    kept.attribute.extend(a for a in node.attribute if a.name not in names)
    return kept


def attributes(node: onnx.NodeProto, opsets: Mapping[str, int]) -> Attributes:
    """The attributes of a node as Python values, with the defaults of its operator set.

    Raises:
        ValueError: an attribute cannot be decoded; `scope.blaming` names model and node.
    """
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    defaults = _defaults(node.op_type, version_of(node, opsets), standard_domain(node.domain))
    return {**defaults, **given}


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node without its data.

    Attributes:
        op: which operator it is, as `operator_key` says it.
        version: version of its operator set.
        attributes: its attributes, with the defaults of its version.
        inputs: names of its operands, empty for absent ones.
        outputs: names of its results, empty for absent ones.
    """

    op: str
    version: int
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def number(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        return int(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is a text."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def numbers(self, name: str, count: int, default: int) -> list[int]:
        """An attribute that is a list of integers; `count` times the default where it is absent."""
        given = self.attributes.get(name)
        return [int(v) for v in given] if given else [default] * count


def facts_of(node: onnx.NodeProto, opsets: Mapping[str, int]) -> NodeFacts:
    """What a node says of itself.

    Raises:
        ValueError: an attribute cannot be decoded.
    """
    return NodeFacts(
        operator_key(node, opsets),
        version_of(node, opsets),
        attributes(node, opsets),
        tuple(node.input),
        tuple(node.output),
    )
