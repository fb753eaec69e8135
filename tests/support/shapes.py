"""ONNX models of one shape and any size: chains, fans, many borders, bodies, functions.

Each holds about as many nodes as it is asked for, those of bodies and functions included.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

# Elements of a tensor.
WIDTH = 64
# Domain of local functions.
LOCAL = "benchmark"


def tensor(name: str, *shape: int) -> onnx.ValueInfoProto:
    """A float32 tensor, by default of `WIDTH` elements."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape or (WIDTH,))


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    functions: list[onnx.FunctionProto] | None = None,
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A model of operator set 17."""
    stored = [onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "shape", inputs, outputs, stored)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(LOCAL, 1)]
    made = helper.make_model(graph, opset_imports=sets, functions=functions or [])
    made.ir_version = 8
    return made


def elementwise(n: int) -> onnx.ModelProto:
    """A chain of operators that become fusion groups."""
    nodes = [helper.make_node("Sigmoid", [f"t{i}"], [f"t{i + 1}"]) for i in range(n)]
    return model(nodes, [tensor("t0")], [tensor(f"t{n}")])


def chain(n: int) -> onnx.ModelProto:
    """Operators one behind the other, none of which joins a fusion group."""
    nodes = [helper.make_node("Softmax", [f"t{i}"], [f"t{i + 1}"]) for i in range(n)]
    return model(nodes, [tensor("t0")], [tensor(f"t{n}")])


def residual(n: int) -> onnx.ModelProto:
    """A chain in which each tensor is read by the next two operators."""
    nodes = [helper.make_node("Sigmoid", ["t0"], ["t1"])]
    nodes += [helper.make_node("Mul", [f"t{i - 1}", f"t{i}"], [f"t{i + 1}"]) for i in range(1, n)]
    return model(nodes, [tensor("t0")], [tensor(f"t{n}")])


def readers(n: int) -> onnx.ModelProto:
    """One tensor that every operator of a chain reads."""
    nodes = [helper.make_node("Softmax", ["x"], ["t0"])]
    nodes += [
        helper.make_node("LayerNormalization", [f"t{i}", "t0"], [f"t{i + 1}"]) for i in range(n - 1)
    ]
    return model(nodes, [tensor("x")], [tensor(f"t{n - 1}")])


def fan(n: int) -> onnx.ModelProto:
    """One tensor with n readers, joined by one Max of n inputs."""
    nodes = [helper.make_node("Sigmoid", ["x"], [f"t{i}"]) for i in range(n - 1)]
    nodes.append(helper.make_node("Max", [f"t{i}" for i in range(n - 1)], ["y"]))
    return model(nodes, [tensor("x")], [tensor("y")])


def fan_concat(n: int) -> onnx.ModelProto:
    """One tensor with n readers, joined by one Concat of n inputs."""
    nodes = [helper.make_node("Sigmoid", ["x"], [f"t{i}"]) for i in range(n - 1)]
    nodes.append(helper.make_node("Concat", [f"t{i}" for i in range(n - 1)], ["y"], axis=0))
    return model(nodes, [tensor("x")], [tensor("y", WIDTH * (n - 1))])


def shared_parts(n: int) -> onnx.ModelProto:
    """Concats that share operands: each joins the results of its two predecessors."""
    nodes = [helper.make_node("Sigmoid", ["x"], [f"t{i}"]) for i in range(n // 2)]
    nodes += [
        helper.make_node("Concat", [f"t{i}", f"t{i + 1}"], [f"y{i}"], axis=0)
        for i in range(n // 2 - 1)
    ]
    return model(nodes, [tensor("x")], [tensor(f"y{i}", 2 * WIDTH) for i in range(n // 2 - 1)])


def split(n: int) -> onnx.ModelProto:
    """One Split of n outputs, each read by an operator, joined again."""
    nodes = [helper.make_node("Split", ["x", "sizes"], [f"t{i}" for i in range(n)], axis=0)]
    nodes += [helper.make_node("Sigmoid", [f"t{i}"], [f"s{i}"]) for i in range(n)]
    nodes.append(helper.make_node("Concat", [f"s{i}" for i in range(n)], ["y"], axis=0))
    sizes = {"sizes": np.full(n, 1, np.int64)}
    return model(nodes, [tensor("x", n)], [tensor("y", n)], constants=sizes)


def inputs(n: int) -> onnx.ModelProto:
    """As many graph inputs as operators."""
    nodes = [
        helper.make_node("LayerNormalization", [f"t{i}", f"x{i}"], [f"t{i + 1}"]) for i in range(n)
    ]
    return model(nodes, [tensor("t0"), *(tensor(f"x{i}") for i in range(n))], [tensor(f"t{n}")])


def outputs(n: int) -> onnx.ModelProto:
    """A chain of which every result is an output of the graph."""
    nodes = [helper.make_node("Softmax", [f"t{i}"], [f"t{i + 1}"]) for i in range(n)]
    return model(nodes, [tensor("t0")], [tensor(f"t{i + 1}") for i in range(n)])


def weights(n: int) -> onnx.ModelProto:
    """As many stored tensors as operators."""
    nodes = [
        helper.make_node("LayerNormalization", [f"t{i}", f"w{i}"], [f"t{i + 1}"]) for i in range(n)
    ]
    stored = {f"w{i}": np.ones(WIDTH, np.float32) for i in range(n)}
    return model(nodes, [tensor("t0")], [tensor(f"t{n}")], constants=stored)


def constants(n: int) -> onnx.ModelProto:
    """Half of the nodes are Constants."""
    made: list[onnx.NodeProto] = []
    value = onnx.numpy_helper.from_array(np.ones(WIDTH, np.float32))
    for i in range(n // 2):
        made.append(helper.make_node("Constant", [], [f"w{i}"], value=value))
        made.append(helper.make_node("LayerNormalization", [f"t{i}", f"w{i}"], [f"t{i + 1}"]))
    return model(made, [tensor("t0")], [tensor(f"t{n // 2}")])


def reversed_chain(n: int) -> onnx.ModelProto:
    """A chain whose file lists the last node first."""
    made = chain(n)
    nodes = list(reversed(made.graph.node))
    return model(nodes, list(made.graph.input), list(made.graph.output))


def ifs(n: int) -> onnx.ModelProto:
    """Ifs one behind the other, each with one node in each branch."""
    nodes = [helper.make_node("If", ["c"], [f"t{i + 1}"], **_branches(i)) for i in range(n // 3)]
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, ())
    return model(nodes, [tensor("t0"), condition], [tensor(f"t{n // 3}")])


def dead_ifs(n: int) -> onnx.ModelProto:
    """Ifs whose condition is a constant: one branch takes their place."""
    nodes = [helper.make_node("If", ["c"], [f"t{i + 1}"], **_branches(i)) for i in range(n // 3)]
    known = {"c": np.array(True)}
    return model(nodes, [tensor("t0")], [tensor(f"t{n // 3}")], constants=known)


def one_if(n: int) -> onnx.ModelProto:
    """One If with long branches."""
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, ())
    branches = {
        f"{name}_branch": helper.make_graph(
            [
                helper.make_node(kind, [f"{name}{i}" if i else "x"], [f"{name}{i + 1}"])
                for i in range(n // 2)
            ],
            name,
            [],
            [tensor(f"{name}{n // 2}")],
        )
        for name, kind in (("then", "Sigmoid"), ("else", "Tanh"))
    }
    node = helper.make_node("If", ["c"], ["y"], **branches)
    return model([node], [tensor("x"), condition], [tensor("y")])


def nested_ifs(n: int) -> onnx.ModelProto:
    """Ifs inside Ifs, 20 deep, again and again: the innermost reads a tensor of the main graph."""
    depth = 20
    nodes: list[onnx.NodeProto] = []
    count = max(1, n // (2 * depth))
    for i in range(count):
        inner = helper.make_node("Sigmoid", [f"t{i}"], [f"n{i}_0"])
        for level in range(depth):
            then = helper.make_graph([inner], "then", [], [tensor(f"n{i}_{level}")])
            other = helper.make_node("Tanh", [f"t{i}"], [f"e{i}_{level}"])
            otherwise = helper.make_graph([other], "else", [], [tensor(f"e{i}_{level}")])
            name = f"t{i + 1}" if level == depth - 1 else f"n{i}_{level + 1}"
            inner = helper.make_node("If", ["c"], [name], then_branch=then, else_branch=otherwise)
        nodes.append(inner)
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, ())
    return model(nodes, [tensor("t0"), condition], [tensor(f"t{count}")])


def _branches(i: int) -> dict[str, onnx.GraphProto]:
    return {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(kind, [f"t{i}"], [f"{name}{i}"])], name, [], [tensor(f"{name}{i}")]
        )
        for name, kind in (("then", "Softmax"), ("else", "LogSoftmax"))
    }


def loops(n: int) -> onnx.ModelProto:
    """Loops of four iterations one behind the other, each with two nodes in its body."""
    nodes = [
        helper.make_node("Loop", ["trips", "", f"t{i}"], [f"t{i + 1}"], body=_body(f"b{i}", 1))
        for i in range(n // 3)
    ]
    trips = {"trips": np.array(4, np.int64)}
    return model(nodes, [tensor("t0")], [tensor(f"t{n // 3}")], constants=trips)


def one_loop(n: int) -> onnx.ModelProto:
    """One Loop with a long body."""
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=_body("b", n - 2))
    trips = {"trips": np.array(4, np.int64)}
    return model([node], [tensor("x")], [tensor("y")], constants=trips)


def _body(name: str, length: int) -> onnx.GraphProto:
    nodes = [helper.make_node("Identity", [f"{name}_more"], [f"{name}_on"])]
    nodes += [
        helper.make_node("Softmax", [f"{name}_{i}"], [f"{name}_{i + 1}"]) for i in range(length)
    ]
    number = helper.make_tensor_value_info(f"{name}_i", onnx.TensorProto.INT64, ())
    more = helper.make_tensor_value_info(f"{name}_more", onnx.TensorProto.BOOL, ())
    on = helper.make_tensor_value_info(f"{name}_on", onnx.TensorProto.BOOL, ())
    return helper.make_graph(
        nodes, name, [number, more, tensor(f"{name}_0")], [on, tensor(f"{name}_{length}")]
    )


def doubling_functions(n: int) -> onnx.ModelProto:
    """Functions each of which calls the next twice: n nodes once they are inlined."""
    functions = [_function("f0", [helper.make_node("Softmax", ["a"], ["b"])])]
    level = 0
    while 2 ** (level + 1) <= n:
        level += 1
        calls = [_call(f"f{level - 1}", "a", "m"), _call(f"f{level - 1}", "m", "b")]
        functions.append(_function(f"f{level}", calls))
    return model([_call(f"f{level}", "x", "y")], [tensor("x")], [tensor("y")], functions)


def deep_functions(n: int) -> onnx.ModelProto:
    """Functions each of which holds a node and a call of the next: as deep as there are nodes."""
    functions = [_function("f0", [helper.make_node("Softmax", ["a"], ["b"])])]
    functions += [
        _function(
            f"f{i}", [helper.make_node("Softmax", ["a"], ["m"]), _call(f"f{i - 1}", "m", "b")]
        )
        for i in range(1, n)
    ]
    return model([_call(f"f{n - 1}", "x", "y")], [tensor("x")], [tensor("y")], functions)


def called_function(n: int) -> onnx.ModelProto:
    """A function of two nodes that the model calls again and again."""
    body = [helper.make_node("Softmax", ["a"], ["m"]), helper.make_node("LogSoftmax", ["m"], ["b"])]
    nodes = [_call("f", f"t{i}", f"t{i + 1}") for i in range(n // 2)]
    return model(nodes, [tensor("t0")], [tensor(f"t{n // 2}")], [_function("f", body)])


def _function(name: str, nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(LOCAL, 1)]
    return helper.make_function(LOCAL, name, ["a"], ["b"], nodes, sets)


def _call(name: str, read: str, written: str) -> onnx.NodeProto:
    return helper.make_node(name, [read], [written], domain=LOCAL)


def views(n: int) -> onnx.ModelProto:
    """Reshapes one behind the other."""
    nodes = [
        helper.make_node("Reshape", [f"t{i}", f"s{i % 2}"], [f"t{i + 1}"]) for i in range(n - 1)
    ]
    nodes.append(helper.make_node("Sigmoid", [f"t{n - 1}"], ["y"]))
    shapes = {"s0": np.array([1, WIDTH]), "s1": np.array([WIDTH])}
    shape = (WIDTH,) if n % 2 else (1, WIDTH)
    return model(nodes, [tensor("t0")], [tensor("y", *shape)], constants=shapes)


def convolutions(n: int) -> onnx.ModelProto:
    """Pairs of Conv and Relu that become fusion groups, one weight for all."""
    nodes: list[onnx.NodeProto] = []
    for i in range(n // 2):
        nodes.append(helper.make_node("Conv", [f"t{i}", "w"], [f"c{i}"]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"t{i + 1}"]))
    kernel = {"w": np.ones((4, 4, 1, 1), np.float32)}
    first, last = tensor("t0", 1, 4, 4, 4), tensor(f"t{n // 2}", 1, 4, 4, 4)
    return model(nodes, [first], [last], constants=kernel)


SHAPES: dict[str, Callable[[int], onnx.ModelProto]] = {
    make.__name__: make
    for make in (
        chain,
        elementwise,
        residual,
        readers,
        fan,
        fan_concat,
        shared_parts,
        split,
        inputs,
        outputs,
        weights,
        constants,
        reversed_chain,
        views,
        convolutions,
        ifs,
        dead_ifs,
        one_if,
        nested_ifs,
        loops,
        one_loop,
        doubling_functions,
        deep_functions,
        called_function,
    )
}
