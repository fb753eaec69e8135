"""The artefacts, each a frozen dataclass without behaviour: graph, program, problem, assignment, plan.

Graph -> Program (steps over buffers) -> Problem (with target and objective) -> Assignment -> Plan.
An artefact never imports what makes it.
"""
