"""Time of matrix products on a weight-stationary systolic array.

A product [m, k] x [k, n] is cut into folds, blocks of weights that the array holds at once:

                        columns (n)
                      +-------------+
      m rows  x x x ->| w w w w w w |
      of    x x x   ->| w w w w w w |   rows (k)
      input           +-------------+
                        v v v v v v     sums leave at the bottom
"""

from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.target import Systolic


def gemm_cycles(gemm: Gemm, systolic: Systolic) -> int:
    """Cycles in which the arrays compute `gemm.count` products [m, k] x [k, n].

    A fold is a block of at most rows x columns weights that the array holds at once: it is loaded
    (rows cycles), then m rows of the input are streamed through it, skewed by the array's sides.

        folds  = ceil(k / rows) * ceil(n / columns)
        cycles = folds * (2 * rows + columns + m - 2)

    as in SCALE-Sim (Samajdar et al., arXiv 1811.02883), whose runs it reproduces to the cycle.
    Products that are smaller than the array (depthwise and grouped convolutions) share a fold
    block-diagonally, each with its own rows and its own columns. Folds are spread over the
    arrays; the adders that join folds of one product are free.

    Args:
        gemm: the products; one with a dimension of 0 takes no time.
        systolic: the arrays.
    """
    if min(gemm.m, gemm.k, gemm.n, gemm.count) == 0:
        return 0
    folds_per_product = -(-gemm.k // systolic.rows) * -(-gemm.n // systolic.columns)
    products_per_fold = max(1, min(systolic.rows // gemm.k, systolic.columns // gemm.n))
    folds = -(-gemm.count // products_per_fold) * folds_per_product
    fold_cycles = 2 * systolic.rows + systolic.columns + gemm.m - 2
    return -(-folds // systolic.arrays) * fold_cycles
