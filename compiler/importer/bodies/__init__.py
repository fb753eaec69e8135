"""Subgraphs of If, Loop and Scan.

`lift` makes weights of what is stored inside them, `control_flow` types them, `loops` finds the
shapes of loop-carried tensors, `prune` takes out branches that never run, `rename` gives names
that nothing else has.
"""
