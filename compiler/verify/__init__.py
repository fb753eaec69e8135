"""Is a plan legal? Independent of every solver; docs/plan-semantics.md has the rules.

fields        what is wrong with a single value?
target_form   is the target inside the plan sound?
well_formed   are types and indices sound, and the problem inside the plan?
space         addresses, capacities, workspace, cuts of slices, links, moves
data          is every byte where it is used, and current? (replays `events`, by `versions`)
loop          in steady state: do weights survive from one inference to the next?
verifier      runs them all
"""
