"""Tensors that live from one inference to the next: what must run before what, how they lie."""
