"""From an ONNX file to a graph: shapes, costs, fusion groups, what may share bytes."""
