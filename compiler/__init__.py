"""From an ONNX file to a verified, scored plan."""
