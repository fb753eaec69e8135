"""Hardware: what a chip has, what a plan costs on it, and what no plan can beat.

catalog      target files -> `Target`
resources    the table of ports, links, seconds and joules that all others read
traffic      bytes by tier, link and step; bytes that no plan avoids
compute      the time of operators, by the model that the target chooses
cost         the score of a plan
bounds       lower bounds without a solver
replay       an event-driven second opinion on the latency
"""
