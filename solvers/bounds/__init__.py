"""Bounds on the latency of every schedule of a graph, whatever its order and its parts.

docs/bounds.md states and proves them.

    relations   one axis of an operand and one of the result: what a run of either meets for sure
    runs        such runs by where the element of a cone lies
    operands    an operator and what it reads: the same for boxes of whole tensors
    work        the time of an operator, of which each part takes its share
    network     the graph in this form
    live        elements that reach an output
    cones       what must follow, or precede, one element of a value
    cuts        one event: before it, after it
    schedules   the bounds of a graph on a target
"""
