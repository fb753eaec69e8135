"""What the importer knows of the values of small tensors.

`folding` computes constants, with `evaluate` running single nodes; `intervals` bounds each element
of what is computed from shapes that depend on data.
"""
