"""From an ONNX file to a graph.

    load -> infer (scope, folding, control_flow, bounds, contrib) -> nodes (costs, storage)
         -> fusion -> build

`load` reads and checks the file, `infer` finds the type of every tensor, `nodes` says what each
node costs and which bytes it may share, `fusion` groups nodes that run as one operator, and `build`
makes the `Graph`. `optypes` holds what is known of operator types.
"""
