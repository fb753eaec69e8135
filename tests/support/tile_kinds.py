"""Small models of the kinds on which compilers that tile go wrong, with tiles to try.

Weights are inputs, so that they have values. Named after what is hard; `K` is the reduction.
"""

import onnx

from tests.support.onnx_models import parsed
from ullage.compiler.ir.reach import REDUCTION

WINDOW = "float[1,2,{0},6] x, float[2,2,3,3] w, float[2,2,3,3] v"
# Name -> (text of the graph, tiles of the output y by axis).
KINDS: dict[str, tuple[str, dict[int, int]]] = {
    "stride that leaves rows over": (
        "g (float[1,2,15,7] x, float[3,2,3,3] w) => (float y) "
        "{ y = Conv<strides=[3,2], pads=[1,0,1,0]>(x, w) }",
        {2: 2},
    ),
    "dilation over stripes": (
        "g (float[1,2,17,5] x, float[2,2,3,3] w) => (float y) "
        "{ y = Conv<dilations=[4,1], pads=[4,1,4,1]>(x, w) }",
        {2: 2},
    ),
    "asymmetric padding": (
        f"g ({WINDOW.format(11)}) => (float y) "
        "{ t = Conv<pads=[2,0,0,2]>(x, w) y = Conv<pads=[0,2,2,0]>(t, v) }",
        {2: 3},
    ),
    "automatic padding": (
        f"g ({WINDOW.format(12)}) => (float y) "
        '{ t = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w) '
        'y = MaxPool<kernel_shape=[2,2], auto_pad="SAME_UPPER">(t) }',
        {2: 2},
    ),
    "pool that rounds up": (
        "g (float[1,2,10,8] x, float[2,2,1,1] w) => (float y) "
        "{ t = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x) y = Conv(t, w) }",
        {2: 2},
    ),
    "averages at the border": (
        "g (float[1,2,13,5] x) => (float y) "
        "{ t = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) "
        "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(t) }",
        {2: 4},
    ),
    "two readers of other rates": (
        f"g ({WINDOW.format(16)}) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) a = Conv<pads=[1,1,1,1], strides=[2,2]>(t, v) "
        "b = MaxPool<kernel_shape=[2,2], strides=[2,2]>(t) y = Add(a, b) }",
        {2: 2},
    ),
    "upsampling": (
        f"g ({WINDOW.format(7)}) => (float y) <float[4] s = {{1.0, 1.0, 2.0, 1.0}}> "
        '{ t = Conv<pads=[1,1,1,1]>(x, w) u = Resize<mode="linear">(t, , s) '
        "y = Conv<pads=[1,1,1,1]>(u, v) }",
        {2: 3},
    ),
    "nearest by a ratio": (
        f"g ({WINDOW.format(10)}) => (float y) <float[4] s = {{1.0, 1.0, 0.6, 1.0}}> "
        '{ t = Resize<mode="nearest", nearest_mode="floor">(x, , s) '
        "y = Conv<pads=[1,1,1,1]>(t, v) }",
        {2: 2},
    ),
    "transposed convolution": (
        "g (float[1,2,6,4] x, float[2,3,3,3] w, float[2,3,3,3] v) => (float y) "
        "{ t = ConvTranspose<strides=[2,2], pads=[1,1,0,0]>(x, w) y = Conv(t, v) }",
        {2: 3},
    ),
    "reflected padding": (
        f"g ({WINDOW.format(9)}) => (float y) <int64[8] p = {{0,0,3,1,0,0,3,1}}> "
        '{ t = Conv<pads=[1,1,1,1]>(x, w) u = Pad<mode="reflect">(t, p) '
        "y = Conv<dilations=[3,1]>(u, v) }",
        {2: 2},
    ),
    "wrapped padding": (
        f"g ({WINDOW.format(9)}) => (float y) <int64[8] p = {{0,0,2,0,0,0,2,0}}> "
        '{ t = Conv<pads=[1,1,1,1]>(x, w) u = Pad<mode="wrap">(t, p) y = Conv(u, v) }',
        {2: 2},
    ),
    "slice backwards": (
        f"g ({WINDOW.format(12)}) => (float y) "
        "<int64[1] s = {-2}, int64[1] e = {-13}, int64[1] a = {2}, int64[1] d = {-2}> "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) u = Slice(t, s, e, a, d) "
        "y = Conv<pads=[1,1,1,1]>(u, v) }",
        {2: 2},
    ),
    "concatenation along rows": (
        f"g ({WINDOW.format(5)}, float[1,2,8,6] z) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) c = Concat<axis=2>(t, z) "
        "y = Conv<pads=[1,1,1,1]>(c, v) }",
        {2: 4},
    ),
    "concatenation along channels": (
        f"g ({WINDOW.format(9)}, float[2,4,1,1] z) => (float y) "
        "{ a = Conv<pads=[1,1,1,1]>(x, w) b = Conv<pads=[1,1,1,1]>(x, v) "
        "c = Concat<axis=1>(a, b) y = Conv(c, z) }",
        {2: 4},
    ),
    "skip over several operators": (
        f"g ({WINDOW.format(13)}) => (float y) "
        "{ a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, v) "
        "d = Conv<pads=[1,1,1,1]>(c, w) y = Add(d, x) }",
        {2: 3},
    ),
    "groups of channels": (
        "g (float[1,6,6,4] x, float[9,2,3,3] w) => (float y) "
        "{ t = Conv<group=3, pads=[1,1,1,1]>(x, w) y = Relu(t) }",
        {1: 2},
    ),
    "squeeze and excite": (
        f"g ({WINDOW.format(9)}, float[2,2,1,1] s) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) m = GlobalAveragePool(t) c = Conv(m, s) "
        "g = Sigmoid(c) u = Mul(t, g) y = Conv<pads=[1,1,1,1]>(u, v) }",
        {2: 2},
    ),
    "channels that are normalised": (
        "g (float[1,6,5,4] x, float[6,6,1,1] w, float[6] s, float[6] b) => (float y) "
        "{ t = Conv(x, w) y = InstanceNormalization(t, s, b) }",
        {1: 4},
    ),
    "rows become tokens": (
        "g (float[1,2,5,3] x, float[4,2,3,3] w, float[4,3] m) => (float y) "
        "<int64[3] s = {1,4,15}> { t = Conv<pads=[1,1,1,1]>(x, w) r = Reshape(t, s) "
        "p = Transpose<perm=[0,2,1]>(r) y = MatMul(p, m) }",
        {1: 4},
    ),
    "channels become pixels": (
        "g (float[1,2,4,4] x, float[8,2,3,3] w, float[2,2,3,3] v) => (float y) "
        '{ t = Conv<pads=[1,1,1,1]>(x, w) u = DepthToSpace<blocksize=2, mode="CRD">(t) '
        "y = Conv<pads=[1,1,1,1]>(u, v) }",
        {2: 3},
    ),
    "queries of an attention": (
        "g (float[1,2,6,3] q, float[1,2,7,3] k, float[1,2,7,3] v, float[6,7] m) => (float y) "
        "{ t = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q, t) a = Add(s, m) "
        "p = Softmax<axis=-1>(a) y = MatMul(p, v) }",
        {2: 4},
    ),
    "heads of an attention": (
        "g (float[1,4,5,3] q, float[1,4,5,3] k, float[1,4,5,3] v) => (float y) "
        "{ t = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q, t) p = Softmax<axis=-1>(s) "
        "y = MatMul(p, v) }",
        {1: 3},
    ),
    "product along K": (
        "g (float[3,12] x, float[12,8] w, float[8,5] v) => (float y) "
        "{ h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }",
        {REDUCTION: 3},
    ),
    "convolution along K": (
        "g (float[1,2,9,6] x, float[4,2,3,3] w, float[3,4,3,3] v) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = Conv<pads=[1,1,1,1]>(t, v) }",
        {2: 4, REDUCTION: 3},
    ),
    "rows of a mean": (
        "g (float[1,2,9,6] x, float[4,2,3,3] w) => (float y, float t) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = GlobalAveragePool(t) }",
        {REDUCTION: 2},
    ),
    "an output in the middle": (
        f"g ({WINDOW.format(10)}) => (float y, float t) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = Conv<strides=[2,2]>(t, v) }",
        {2: 2},
    ),
    "several images": (
        "g (float[3,2,5,4] x, float[2,2,3,3] w) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = MaxPool<kernel_shape=[3,3], strides=[2,1], "
        "pads=[1,1,1,1]>(t) }",
        {2: 1},
    ),
    "in place with a halo": (
        f"g ({WINDOW.format(9)}) => (float y, float r) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) r = Relu(t) y = Conv<pads=[1,1,1,1]>(t, v) }",
        {2: 4},
    ),
    "channels shuffled": (
        "g (float[1,6,5,4] x, float[6,3,3,3] w, float[6,3,1,1] v) => (float y) "
        "<int64[5] s = {1,2,3,5,4}, int64[4] f = {1,6,5,4}> "
        "{ t = Conv<group=2, pads=[1,1,1,1]>(x, w) a = Reshape(t, s) "
        "b = Transpose<perm=[0,2,1,3,4]>(a) q = Reshape(b, f) y = Conv<group=2>(q, v) }",
        {1: 2},
    ),
    "two axes": (
        f"g ({WINDOW.format(10)}) => (float y) "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = Conv<pads=[1,1,1,1]>(t, v) }",
        {2: 4, 3: 4},
    ),
    "running sum": (
        f"g ({WINDOW.format(9)}) => (float y) <int64 a = {{2}}> "
        "{ t = Conv<pads=[1,1,1,1]>(x, w) y = CumSum(t, a) }",
        {2: 3},
    ),
    "parts of a Split": (
        "g (float[1,5,9,3] x, float[5,5,1,1] w, float[2,2,3,3] u, float[3,3,3,3] v) => (float y) "
        "<int64[2] s = {2,3}> { t = Conv(x, w) a, b = Split<axis=1>(t, s) "
        "c = Conv<pads=[1,1,1,1]>(a, u) d = Conv<pads=[1,1,1,1]>(b, v) y = Concat<axis=1>(c, d) }",
        {1: 3},
    ),
    "causal convolution": (
        "g (float[1,2,14] x, float[2,2,3] w) => (float y) "
        "{ a = Conv<pads=[4,0], dilations=[2]>(x, w) b = Conv<pads=[2,0]>(a, w) y = Add(a, b) }",
        {2: 4},
    ),
}


def kind_model(name: str) -> onnx.ModelProto:
    """The model of a kind."""
    return parsed(KINDS[name][0])
