"""Recomputation: results that are dropped between two uses and computed again.

`copies` makes the schedule of a set of dropped gaps, `surrogate` values such sets in a millisecond,
`search` chooses one. `bound` proves what none falls below, by a linear program (`relaxation`) of
what the order reads and writes (`order_items`).
"""
