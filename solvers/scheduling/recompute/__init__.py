"""Recomputation: results that are dropped between two uses and computed again.

`copies` makes the schedule of a set of dropped gaps, `surrogate` values such sets in a millisecond,
`search` chooses one.
"""
