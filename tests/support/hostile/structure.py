"""Attacks on structure: cycles, depth, recursion, chains, names, operator sets, no ONNX at all."""

from random import Random

import onnx
from onnx import helper

from tests.support.onnx_models import const, info, model, node, subgraph

from .valid import valid_models
from .values import ATTRIBUTE, EXTREMES


def cyclic(random: Random) -> bytes:
    """Nodes that wait for each other."""
    length = random.choice([1, 2, 30])
    ring = [node("Add", f"t{i} x", f"t{(i + 1) % length}") for i in range(length)]
    return model(ring, {"x": (2,)}, "t0").SerializeToString()


def deep_subgraphs(random: Random) -> bytes:
    """If inside If inside If."""
    proto = model([], [info("c", (), "bool"), info("x", (2, 4))], "y0")
    graph, depth = proto.graph, random.choice([5, 20, 30, 60])
    for level in range(depth):
        made = graph.node.add(op_type="If", input=["c"], output=[f"y{level}"])
        other = made.attribute.add(name="else_branch", type=ATTRIBUTE.GRAPH).g
        other.node.append(node("Relu", "x", f"z{level}"))
        other.output.append(info(f"z{level}", (2, 4)))
        graph = made.attribute.add(name="then_branch", type=ATTRIBUTE.GRAPH).g
        graph.name = f"level{level}"
        graph.output.append(info(f"y{level + 1}", (2, 4)))
    graph.node.append(node("Relu", "x", f"y{depth}"))
    return proto.SerializeToString()


def recursive_functions(random: Random) -> bytes:
    """Functions that call themselves, each other, or explode when inlined."""
    depth, width = random.choice([(1, 1), (3, 1), (60, 1), (20, 10), (9, 9)])
    close = random.random() < 0.5 or depth == 1
    functions = []
    for level in range(depth):
        last = level == depth - 1
        callee = "F0" if last and close else f"F{level + 1}"
        calls = [
            node("Relu", f"t{i}", f"t{i + 1}")
            if last and not close
            else node(callee, f"t{i}", f"t{i + 1}", domain="local")
            for i in range(width)
        ]
        functions.append(
            helper.make_function(
                "local",
                f"F{level}",
                ["t0"],
                [f"t{width}"],
                calls,
                [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)],
            )
        )
    return model(
        [node("F0", "x", "y", domain="local")],
        {"x": (2,)},
        "y",
        functions=functions,
        domains=["local"],
    ).SerializeToString()


def bad_names(random: Random) -> bytes:
    """Names that are not UTF-8, empty, NUL, shared, or megabytes long."""
    data = model([node("Relu", "NAME", "OUTP")], {"NAME": (2,)}, "OUTP").SerializeToString()
    new = random.choice(
        [b"\xff\xfe\xfd\xfc", b"\x00\x00\x00\x00", b"\xed\xa0\x80a", b"OUTP", b"../x"]
    )
    return data.replace(random.choice([b"NAME", b"OUTP"]), new)


def odd_opsets(random: Random) -> bytes:
    """Operator sets that do not exist, twice, or none."""
    proto = onnx.ModelProto.FromString(random.choice(valid_models()))
    action = random.randrange(4)
    if action == 0:
        del proto.opset_import[:]
    elif action == 1:
        proto.opset_import[0].version = random.choice(EXTREMES)
    elif action == 2:
        proto.opset_import.add(domain="", version=random.choice([1, 5, 9]))
    else:
        proto.opset_import[0].domain = "no.such.domain"
    return proto.SerializeToString()


def many_constants(random: Random) -> bytes:
    """A chain of constants of which each is half a megabyte, were it computed."""
    length = random.choice([10, 800])
    adding = [node("Add", f"k{i} k{i}", f"k{i + 1}") for i in range(length)]
    return model(
        [node("Expand", "one size", "k0"), *adding, node("Add", f"x k{length}", "y")],
        [info("x", (1,), "int64")],
        "y",
        [const("one", [1]), const("size", [65_536])],
    ).SerializeToString()


def many_subgraphs(random: Random) -> bytes:
    """A chain of Ifs, each of which sees all tensors before it."""
    nodes, last = [], "x"
    for i in range(random.choice([3, 200])):
        branch = subgraph([node("Relu", last, f"r{i}")], (), [info(f"r{i}", (2, 4))])
        nodes.append(node("If", "c", f"y{i}", then_branch=branch, else_branch=branch))
        last = f"y{i}"
    inputs = [info("c", (), "bool"), info("x", (2, 4))]
    return model(nodes, inputs, last).SerializeToString()


def nonsense(random: Random) -> bytes:
    """No ONNX at all."""
    return random.choice([b"", b"\x00", b"hello", random.randbytes(300), b"\x0a" * 5000])
