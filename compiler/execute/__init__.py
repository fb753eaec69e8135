"""Proof by execution: the plan runs in flat memory and must give what onnxruntime gives."""
