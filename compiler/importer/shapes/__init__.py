"""Shapes that onnx's inference leaves open because they depend on data: their upper bounds.

`bounded` is the entry: it asks `rules`, operator by operator, then inference at the largest lengths
(for operators whose results only grow with their inputs). `axes` holds what the rules are made of,
`implied` what follows backwards from types that the file declares.
"""
