"""Ways of bytes through any number of tiers: cheapest paths by prices, and slices that follow them.

`network` is tiers, links and prices; `paths` and `path_search` find a cheapest way through the
steps; `slices` gives every byte one with room; `polish` moves slices to better ones; `joining`,
`arrivals` and `plan` make transfers and addresses of them. Used where operands must be brought to
where operators reach them, over one link or several: by the heuristics, and by `fluid` for more
than two tiers.
"""
