"""Small ONNX models with the shapes that matter to bounds over all schedules."""

from collections.abc import Callable

import onnx

from tests.support.onnx_models import const, model, node, weight

Make = Callable[[], onnx.ModelProto]


def _conv(source: str, result: str, kernel: int = 3, **more: object) -> onnx.NodeProto:
    pads = [kernel // 2] * 4
    return node("Conv", f"{source} w{result}", result, kernel_shape=[kernel] * 2, pads=pads, **more)


def chain() -> onnx.ModelProto:
    """Convolutions with stride, groups and a pool; the result is a vector."""
    return model(
        [
            _conv("x", "a", strides=[2, 2]),
            _conv("a", "b", group=4),
            _conv("b", "c", 1),
            node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", "d", "e"),
            node("Flatten", "e", "f"),
            node("Gemm", "f wg", "y", transB=1),
        ],
        {"x": (1, 2, 9, 8)},
        "y",
        [
            weight("wa", (4, 2, 3, 3)),
            weight("wb", (4, 1, 3, 3)),
            weight("wc", (6, 4, 1, 1)),
            weight("wg", (3, 6)),
        ],
    )


def branches() -> onnx.ModelProto:
    """A Concat of three branches, one of them shifted, then a convolution and a skip."""
    return model(
        [
            _conv("x", "a", 1),
            _conv("a", "b", 3),
            _conv("a", "c", 1),
            node("Pad", "a pads", "p"),
            node("Slice", "p starts ends axes", "d"),
            node("Concat", "b c d", "e", axis=1),
            _conv("e", "f", 3),
            node("Add", "f a", "y"),
        ],
        {"x": (1, 2, 6, 5)},
        "y",
        [
            weight("wa", (3, 2, 1, 1)),
            weight("wb", (2, 3, 3, 3)),
            weight("wc", (4, 3, 1, 1)),
            weight("wf", (3, 9, 3, 3)),
            const("pads", [0, 0, 2, 0, 0, 0, 0, 0]),
            const("starts", [0]),
            const("ends", [6]),
            const("axes", [2]),
        ],
    )


def gate() -> onnx.ModelProto:
    """Squeeze and excite."""
    return model(
        [
            _conv("x", "a", 3, group=2),
            node("GlobalAveragePool", "a", "b"),
            _conv("b", "c", 1),
            node("Sigmoid", "c", "d"),
            node("Mul", "a d", "e"),
            _conv("e", "y", 1),
        ],
        {"x": (1, 2, 5, 5)},
        "y",
        [weight("wa", (4, 1, 3, 3)), weight("wc", (4, 4, 1, 1)), weight("wy", (3, 4, 1, 1))],
    )


def attention() -> onnx.ModelProto:
    """Two heads over five tokens, of which one is used in the end."""
    return model(
        [
            node("MatMul", "x wq", "a"),
            node("Split", "a", "q k v", axis=2, num_outputs=3),
            *(node("Reshape", f"{n} heads", f"{n}h") for n in "qkv"),
            node("Transpose", "qh", "qt", perm=[0, 2, 1, 3]),
            node("Transpose", "kh", "kt", perm=[0, 2, 3, 1]),
            node("Transpose", "vh", "vt", perm=[0, 2, 1, 3]),
            node("MatMul", "qt kt", "s"),
            node("Softmax", "s", "p", axis=-1),
            node("MatMul", "p vt", "o"),
            node("Transpose", "o", "ot", perm=[0, 2, 1, 3]),
            node("Reshape", "ot joined", "j"),
            node("MatMul", "j wo", "m"),
            node("Gather", "m first", "y", axis=1),
        ],
        {"x": (1, 5, 4)},
        "y",
        [
            weight("wq", (4, 12)),
            weight("wo", (4, 4)),
            const("heads", [1, 5, 2, 2]),
            const("joined", [1, 5, 4]),
            const("first", 0),
        ],
    )


def strided() -> onnx.ModelProto:
    """A stride that drops elements, a transposed convolution, dilation."""
    return model(
        [
            _conv("x", "a", 3),
            _conv("a", "b", 1, strides=[2, 2]),
            node("ConvTranspose", "b wt", "c", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "c wy", "y", kernel_shape=[3, 3], pads=[2, 2, 2, 2], dilations=[2, 2]),
        ],
        {"x": (1, 2, 6, 6)},
        "y",
        [
            weight("wa", (2, 2, 3, 3)),
            weight("wb", (3, 2, 1, 1)),
            weight("wt", (3, 2, 2, 2)),
            weight("wy", (2, 2, 3, 3)),
        ],
    )


SMALL_NETS: dict[str, Make] = {
    make.__name__: make for make in (chain, branches, gate, attention, strided)
}
