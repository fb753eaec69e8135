"""The artefacts, frozen dataclasses: graph, program, problem, assignment, plan.

Graph -> Program (steps over buffers) -> Problem (with target and objective) -> Assignment -> Plan.
An artefact never imports what makes it.
"""
