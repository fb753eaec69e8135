"""Proof by execution: a plan run in flat memory, beside onnxruntime."""
