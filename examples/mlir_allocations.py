"""A bufferised MLIR function planned for a chip: its allocations get places and lifetimes."""

from ullage.compiler import compile_problem
from ullage.compiler.integrations.mlir_text import problem_from_mlir
from ullage.hwmodels.catalog.registry import load_target

TEXT = """
func.func @two_layers(%x: memref<64x128xf32>, %w1: memref<128x256xf32> {ullage.weight},
                      %w2: memref<256x64xf32> {ullage.weight}) -> memref<64x64xf32> {
  %zero = arith.constant 0.0 : f32
  %h = memref.alloc() : memref<64x256xf32>
  linalg.fill ins(%zero : f32) outs(%h : memref<64x256xf32>)
  linalg.matmul ins(%x, %w1 : memref<64x128xf32>, memref<128x256xf32>)
                outs(%h : memref<64x256xf32>)
  %r = memref.alloc() : memref<64x256xf32>
  linalg.generic {
    indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
    iterator_types = ["parallel", "parallel"]
  } ins(%h : memref<64x256xf32>) outs(%r : memref<64x256xf32>) {
  ^bb0(%in: f32, %out: f32):
    %m = arith.maximumf %in, %zero : f32
    linalg.yield %m : f32
  }
  memref.dealloc %h : memref<64x256xf32>
  %y = memref.alloc() : memref<64x64xf32>
  linalg.fill ins(%zero : f32) outs(%y : memref<64x64xf32>)
  linalg.matmul ins(%r, %w2 : memref<64x256xf32>, memref<256x64xf32>)
                outs(%y : memref<64x64xf32>)
  memref.dealloc %r : memref<64x256xf32>
  return %y : memref<64x64xf32>
}
"""
target = load_target("edge-npu").with_fast_memory(96 * 1024)
done = compile_problem(problem_from_mlir(TEXT, target))
print(f"latency {done.score.latency_s:.3e} s, lower bound {done.bound.value:.3e} s")
for r in done.plan.residencies:
    name = done.plan.problem.buffers[r.buffer].name
    print(f"{name:6} {r.tier:5} at {r.offset:7} during steps [{r.start}, {r.end})")
