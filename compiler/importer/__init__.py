"""From an ONNX file to a graph.

    load -> infer (scope, values, shapes, bodies, operators) -> nodes (costs, storage)
         -> fusion -> build

`load` reads and checks the file, `infer` finds the type of every tensor, `nodes` says what each
node costs and which bytes it may share, `fusion` groups nodes that run as one operator, and `build`
makes the `Graph`. `optypes` holds what is known of operator types.

Rooms: `values` (constants, bounds of values), `shapes` (bounds of shapes that depend on data),
`bodies` (If, Loop, Scan), `operators` (identity, types of contrib operators), `batch`.
"""
