"""Single operators: which one a node stands for, and what is known of com.microsoft's.

`identity` says under which name the tables of `optypes` know a node; `contrib` has the result types
of operators without an onnx schema, `legacy` those of operators whose schema infers nothing.
"""
