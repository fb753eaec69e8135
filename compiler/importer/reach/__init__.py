"""Reach of operators: how each can be cut into parts, and what a part reads.

`rules.reach_of` has the rule of one ONNX node over the node's own tensors; `groups.group_reach`
puts those of a fusion group together over what the group reads and writes. Each family of operators
has a module. Without a rule an operator runs whole.
"""
