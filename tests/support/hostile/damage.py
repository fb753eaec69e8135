"""Damage to sound models: bytes lost, flipped or exchanged, fields that hold nonsense."""

from collections.abc import Callable, Sequence
from random import Random

import onnx

from tests.support.onnx_models import element, node

from .valid import valid_models
from .values import DTYPES, EXTREMES, KINDS, absurd_attribute, standard_operators


def truncated(random: Random) -> bytes:
    """A file that ends too early."""
    data = random.choice(valid_models())
    return data[: random.randrange(len(data))]


def bit_flipped(random: Random) -> bytes:
    """A file with up to twenty wrong bits."""
    data = bytearray(random.choice(valid_models()))
    for _ in range(random.choice([1, 1, 1, 2, 3, 20])):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def spliced(random: Random) -> bytes:
    """A file with a piece of another (or noise) in its middle."""
    data, other = random.choice(valid_models()), random.choice(valid_models())
    at, begin = random.randrange(len(data)), random.randrange(len(other))
    piece = random.choice([other[begin : begin + 40], random.randbytes(8), b"", b"\xff" * 12])
    return data[:at] + piece + data[at + random.randrange(30) :]


def misfielded(random: Random) -> bytes:
    """A valid model with a few fields changed to what should not stand there."""
    proto = onnx.ModelProto.FromString(random.choice(valid_models()))
    for _ in range(random.choice([1, 1, 2, 4])):
        random.choice(MUTATIONS)(proto.graph, random)
    return proto.SerializeToString()


def _some_node(graph: onnx.GraphProto, random: Random) -> onnx.NodeProto:
    if not graph.node:
        graph.node.append(node("Relu", "x", "revived"))
    return random.choice(graph.node)


def _some_name(graph: onnx.GraphProto, random: Random) -> str:
    names = [n for one in graph.node for n in (*one.input, *one.output)]
    return random.choice([*names, "", "nowhere", "\x00", "a" * 1000])


def _rewire(graph: onnx.GraphProto, random: Random) -> None:
    names = random.choice([_some_node(graph, random).input, _some_node(graph, random).output])
    if names:
        names[random.randrange(len(names))] = _some_name(graph, random)


def _drop_or_add_input(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    if chosen.input and random.random() < 0.6:
        del chosen.input[random.randrange(len(chosen.input))]
    else:
        chosen.input.extend([_some_name(graph, random)] * random.randint(1, 5))


def _change_attribute(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    if not chosen.attribute:
        return
    attribute = random.choice(chosen.attribute)
    name = attribute.name
    attribute.CopyFrom(absurd_attribute(name, random.choice(KINDS), random))


def _change_dims(graph: onnx.GraphProto, random: Random) -> None:
    value = random.choice(graph.input)
    dims = value.type.tensor_type.shape.dim
    if dims:
        random.choice(dims).dim_value = random.choice(EXTREMES)


def _change_initializer(graph: onnx.GraphProto, random: Random) -> None:
    if not graph.initializer:
        return
    tensor = random.choice(graph.initializer)
    action = random.randrange(4)
    if action == 0:
        tensor.dims.append(random.choice(EXTREMES))
    elif action == 1:
        tensor.data_type = random.choice([0, 8, 99, -1, *map(element, DTYPES)])
    elif action == 2:
        tensor.raw_data = random.randbytes(len(tensor.raw_data) or 4)
    else:
        tensor.float_data.extend([float("nan")] * 3)


def _change_type(graph: onnx.GraphProto, random: Random) -> None:
    value = random.choice(graph.input)
    if random.random() < 0.3:
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    else:
        value.type.tensor_type.elem_type = random.choice([0, 8, 99, *map(element, DTYPES)])


def _change_op(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    chosen.op_type = random.choice([*standard_operators(), "", "Nonsense", "Loop", "Constant"])


def _repeat_node(graph: onnx.GraphProto, random: Random) -> None:
    graph.node.append(_some_node(graph, random))


def _drop_node(graph: onnx.GraphProto, random: Random) -> None:
    if graph.node:
        del graph.node[random.randrange(len(graph.node))]


MUTATIONS: Sequence[Callable[[onnx.GraphProto, Random], None]] = (
    _rewire,
    _drop_or_add_input,
    _change_attribute,
    _change_dims,
    _change_initializer,
    _change_type,
    _change_op,
    _repeat_node,
    _drop_node,
)
