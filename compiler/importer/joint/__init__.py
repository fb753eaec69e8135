"""Joint training graphs in fx form: forward, backward and update of a step, as PyTorch traces them.

`fx_file` reads the file, `aten` says what an operator costs and which operands it may overwrite.
"""
