"""Cascades: groups of consecutive operators that run stripe by stripe, and the search for them.

`stripes` makes the parts of a group, `estimate` judges groups quickly, `chain` chooses groups along
an order by dynamic programming, `search` improves them with the fluid LP as the judge.
"""
