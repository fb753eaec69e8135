"""Numbers, attributes, constants and operators at random, absurd more often than not."""

from functools import cache
from random import Random

import onnx

from tests.support.onnx_models import const, info, node, subgraph, weight

INTS = (0, -1, 1, 2, 3, 7, -7, 65_536, 10**6, -(2**31), 2**31, 2**32, 2**40, 2**61, 2**62, -(2**62))
EXTREMES = (*INTS, 2**63 - 1, -(2**63))
FLOATS = (float("nan"), float("inf"), -float("inf"), 3e38, 0.0, -1.0, 1e-45)
DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool", "float64", "int4")
ATTRIBUTE = onnx.AttributeProto
KINDS = (
    ATTRIBUTE.INT,
    ATTRIBUTE.INTS,
    ATTRIBUTE.FLOAT,
    ATTRIBUTE.FLOATS,
    ATTRIBUTE.STRING,
    ATTRIBUTE.STRINGS,
    ATTRIBUTE.TENSOR,
    ATTRIBUTE.GRAPH,
)


def absurd_attribute(name: str, kind: int, random: Random) -> onnx.AttributeProto:
    """An attribute of a kind with a value at random, absurd more often than not."""
    made = onnx.AttributeProto(name=name, type=kind)  # type: ignore[arg-type]  # enum by number
    if kind == ATTRIBUTE.INT:
        made.i = random.choice([0, 1, 2, -1] if random.random() < 0.6 else EXTREMES)
    elif kind == ATTRIBUTE.INTS:
        pool = (1, 1, 2, 0) if random.random() < 0.6 else EXTREMES
        made.ints.extend(random.choice(pool) for _ in range(random.choice([0, 1, 2, 2, 4, 9])))
    elif kind == ATTRIBUTE.FLOAT:
        made.f = random.choice(FLOATS)
    elif kind == ATTRIBUTE.FLOATS:
        made.floats.extend(random.choice(FLOATS) for _ in range(random.randrange(4)))
    elif kind == ATTRIBUTE.STRING:
        made.s = random.choice([b"", b"SAME_UPPER", b"\xff\xfe", b"ij,jk->", b"...i->", b"linear"])
    elif kind == ATTRIBUTE.STRINGS:
        made.strings.extend([b"\xff", b"Tanh"])
    elif kind == ATTRIBUTE.TENSOR:
        made.t.CopyFrom(absurd_tensor("inside", random))
    elif kind == ATTRIBUTE.GRAPH:
        made.g.CopyFrom(subgraph([node("Relu", "x", "g_out")], (), [info("g_out", (2, 2))]))
    return made


def absurd_tensor(name: str, random: Random) -> onnx.TensorProto:
    """A constant: often one that is an argument of a shape operator, often an absurd one."""
    kind = random.randrange(5)
    if kind == 0:
        return const(name, [random.choice(EXTREMES) for _ in range(random.choice([0, 1, 2, 4]))])
    if kind == 1:
        return const(name, random.choice(EXTREMES))
    if kind == 2:
        return const(name, [random.choice(FLOATS) for _ in range(random.choice([0, 1, 4]))], "f4")
    if kind == 3:
        return weight(name, [random.choice(EXTREMES) for _ in range(random.randrange(5))])
    return const(name, [random.randrange(-2, 5) for _ in range(random.choice([1, 2, 4]))])


@cache
def standard_operators() -> tuple[str, ...]:
    """Names of the operators of the standard domain, all versions together."""
    return tuple(sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}))
