"""Weights larger than the memory behind their home: a part stays, the rest streams through."""
