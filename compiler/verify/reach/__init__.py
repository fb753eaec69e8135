"""What parts must read, derived anew: `check.check_reach` compares it with what their steps read.

The importer's rules are formulas over ranges, composed through fusion groups. These look at single
indices: windows are enumerated tap by tap, and what moves elements is applied to their numbers.
Neither knows the other. A node that has no rule here is reported, and what parts of it read is not
checked.
"""
