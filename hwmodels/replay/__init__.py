"""The event-driven replay of a plan: a second opinion on the latency that the cost model states.

`event_graph` says what waits for what, `replay` lets time pass, `max_min_fairness` shares ports,
`unroll` lists several inferences of a plan in steady state.
"""
