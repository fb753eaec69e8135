"""What is in the fastest tier when, and what that costs: the state that solvers work on.

segments: the pieces that are decided about; residency_state: decisions, their load and their cost;
busy_time: seconds by resource and step; place: addresses; build_plan: the assignment.
"""
