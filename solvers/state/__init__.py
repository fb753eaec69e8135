"""What is in the fastest tier when, and what that costs: the state that solvers work on.

segments: the ranges of buffers that are decided about; residency_state: the decisions, their load
and their cost; span_lookup: which use span covers an access; busy_time: seconds by resource and
step; engine_tables and decisions: the way to the engine's tables and back; kernels: whether its
kernels run compiled or plain; required: the residencies that no plan can avoid; infeasibility: the
error where those do not fit; greedy_moves: improvements that several heuristics share; place and
address_map: addresses; build_plan: from decisions to a complete assignment.
"""
