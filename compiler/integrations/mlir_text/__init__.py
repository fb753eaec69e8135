"""Functions of MLIR on memrefs as problems: allocations, and who reads and writes them.

Reads the textual form of one `func.func` after bufferisation, straight-line code:

    %c = memref.alloc() : memref<64x64xf32>
    linalg.matmul ins(%a, %b : memref<64x32xf32>, memref<32x64xf32>) outs(%c : memref<64x64xf32>)
    memref.dealloc %c : memref<64x64xf32>

Allocations are tensors, arguments are inputs (weights where they have the attribute
`ullage.weight`), `memref.get_global` gives a weight, and what `return` names or is written of the
arguments is an output. Operators are those of `linalg` with `ins` and `outs`, and `memref.copy`. An
operator on a buffer that was written before reads it and writes it anew in its bytes, since `outs`
may be accumulated into. Views (`memref.subview`, `cast`, `expand_shape` ...) stand for the whole
buffer. Names, types and shapes that contradict each other are refused with their line. Loops, calls
and dynamic shapes are refused by name: MLIR's own passes outline or unroll them before.

Syntax: the MLIR language reference (mlir.llvm.org/docs/LangRef), dialects memref and linalg.
"""

from ullage.compiler.integrations.mlir_text.reader import problem_from_mlir

__all__ = ["problem_from_mlir"]
