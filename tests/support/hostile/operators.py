"""Operators picked blindly, on operands and attributes picked blindly."""

from random import Random

import onnx
from onnx import helper

from tests.support.onnx_models import info, model

from .values import DTYPES, KINDS, absurd_attribute, absurd_tensor, standard_operators


def random_operators(random: Random) -> bytes:
    """One to three operators picked blindly, on operands and attributes picked blindly."""
    shape = [random.choice([0, 1, 2, 3, 4, 8]) for _ in range(random.choice([0, 1, 2, 3, 4, 4]))]
    inputs = [
        info(
            f"x{i}",
            shape if random.random() < 0.7 else random.choice([[], [2], [0, 3], [4, 4, 1, 2]]),
            dtype,
        )
        for i, dtype in enumerate([*DTYPES, "float32", "float32"])
    ]
    initializers = [absurd_tensor(f"k{i}", random) for i in range(4)]
    typed = {v.name: v.type.tensor_type.elem_type for v in inputs}
    typed |= {t.name: t.data_type for t in initializers}
    nodes: list[onnx.NodeProto] = []
    for position in range(random.randint(1, 3)):
        op = random.choice(standard_operators())
        schema = onnx.defs.get_schema(op, domain="")
        most = max(schema.min_input, min(schema.max_input, schema.min_input + 3, 9))
        count = random.randint(schema.min_input, most)
        names = [_fitting(schema, i, typed, random) for i in range(count)]
        outputs = [f"y{position}_{i}" for i in range(max(1, min(schema.max_output, 4)))]
        made = helper.make_node(op, names, outputs)
        for attribute in schema.attributes.values():
            if attribute.required or random.random() < 0.4:
                wrong = random.random() < 0.1
                kind = random.choice(KINDS) if wrong else attribute.type.value
                made.attribute.append(absurd_attribute(attribute.name, kind, random))
        nodes.append(made)
        typed[outputs[0]] = typed.get(names[0], 1) if names else 1
    opset = random.choice([24, 20, 20, 11])
    return model(nodes, inputs, nodes[-1].output[0], initializers, opset=opset).SerializeToString()


def _fitting(
    schema: onnx.defs.OpSchema, position: int, typed: dict[str, int], random: Random
) -> str:
    """A tensor of a type that the operator takes at that place, most of the time."""
    formal = schema.inputs[min(position, len(schema.inputs) - 1)]
    taken = {name for name, kind in typed.items() if _spelled(kind) in formal.types}
    if not taken or random.random() < 0.05:
        return random.choice([*typed, ""])
    wide = [name for name in taken if name.startswith(("x", "y"))]
    return random.choice(sorted(wide if wide and random.random() < 0.6 else taken))


def _spelled(kind: int) -> str:
    """An element type as operator schemas write it."""
    if kind not in onnx.TensorProto.DataType.values():
        return ""
    return f"tensor({onnx.TensorProto.DataType.Name(kind).lower()})"
