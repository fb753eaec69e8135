"""Time of matrix products on a weight-stationary systolic array.

A product [m, k] x [k, n] is cut into folds, blocks of weights that the array holds at once:

                        columns (n)
                      +-------------+
      m rows  x x x ->| w w w w w w |
      of    x x x   ->| w w w w w w |   rows (k)
      input           +-------------+
                        v v v v v v     sums leave at the bottom
"""

from ullage.compiler.ir.graph import Gemm, LoopNest
from ullage.compiler.ir.target import Systolic

# Channels of an image, alpha included.
IMAGE_CHANNELS = 4


def gemm_cycles(gemm: Gemm, systolic: Systolic) -> int:
    """Cycles in which the arrays compute `gemm.count` products [m, k] x [k, n].

    A fold is a block of at most rows x columns weights that the array holds at once: it is loaded
    (rows cycles), then m rows of the input are streamed through it, skewed by the array's sides.

        folds  = ceil(k / rows) * ceil(n / columns)
        cycles = folds * (2 * rows + columns + m - 2)

    as in SCALE-Sim (Samajdar et al., arXiv 1811.02883), whose runs it reproduces to the cycle.
    Products that are smaller than the array (depthwise and grouped convolutions) share a fold
    block-diagonally, each with its own rows and its own columns, unless groups run one after the
    other (`serial`). Folds are spread over the arrays; the adders that join folds of one product
    are free.

    Where weights are double-buffered, those of a fold are loaded while the fold before computes, so
    that the array is filled and emptied once:

        cycles = folds * max(m, rows) + 2 * rows + columns - 2

    with `load_cycles` in place of the first `rows` where the target states them.

    Args:
        gemm: the products; one with a dimension of 0 takes no time.
        systolic: the arrays.
    """
    if min(gemm.m, gemm.k, gemm.n, gemm.count) == 0:
        return 0
    folds_per_product = -(-gemm.k // systolic.rows) * -(-gemm.n // systolic.columns)
    products_per_fold = 1
    if systolic.groups == "packed":
        fitting = min(systolic.rows // gemm.k, systolic.columns // gemm.n)
        products_per_fold = max(1, fitting)
    folds = -(-gemm.count // products_per_fold) * folds_per_product
    folds = -(-folds // systolic.arrays)
    fill = 2 * systolic.rows + systolic.columns - 2
    if systolic.double_buffered:
        return folds * max(gemm.m, systolic.load_cycles or systolic.rows) + fill
    return folds * (fill + gemm.m)


def nest_gemm(nest: LoopNest, systolic: Systolic) -> Gemm:
    """A loop nest as the products that the array computes.

    Positions are m, output channels n. Rows hold every tap of every input channel (k is depth times
    taps); or input channels only, and then each tap is a product of its own. Of an image they may
    hold the pixels of lines of the window (NVDLA's channel extension): as many lines, a power of
    two, as fit.
    """
    k, passes = nest.depth * nest.taps, 1
    if systolic.rows_hold == "channels":
        k, passes = nest.depth, nest.taps
        if systolic.image_lines and nest.kind == "convolution" and _is_image(nest):
            lines, columns = nest.kernel
            k, at_once = nest.depth * columns, 1
            while 2 * at_once <= systolic.image_lines and 2 * at_once * k <= systolic.rows:
                at_once *= 2
            k, passes = min(at_once, lines) * k, -(-lines // at_once)
    return Gemm(
        m=nest.batch * nest.height * nest.width,
        k=k,
        n=-(-nest.channels // max(1, nest.groups)),
        count=nest.count * nest.groups * passes,
    )


def _is_image(nest: LoopNest) -> bool:
    return nest.groups == 1 and nest.depth <= IMAGE_CHANNELS


def nest_cycles(nest: LoopNest, systolic: Systolic) -> int:
    """Cycles in which the arrays compute a loop nest that multiplies; see `gemm_cycles`."""
    return gemm_cycles(nest_gemm(nest, systolic), systolic)
