"""From a graph and an order to a program: steps, buffers, and which bytes each step uses.

`aliases` decides which values share bytes, `alias_proof` proves that nothing is destroyed by it,
`lower` builds the program, `live_ranges` finds its peak; `from_lists` starts without ONNX.
"""
