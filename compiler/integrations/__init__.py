"""ullage inside other compilers: an onnx-ir pass, ExecuTorch, torch.export, XLA, MLIR."""
