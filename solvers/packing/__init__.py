"""Offset assignment: buffers with fixed lifetimes at addresses so that the peak is small."""
