"""ONNX to Graph: read, fold until shapes are known, cost, fuse."""
