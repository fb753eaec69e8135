"""Another batch for models whose batch is a fixed number.

`rebatch` is the entry; `rules` say on which axis of each tensor the samples lie.
"""
