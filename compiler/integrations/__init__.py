"""Other compilers: an onnx-ir pass, ExecuTorch, torch.export, XLA buffer lists."""
