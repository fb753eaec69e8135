"""The artefacts, frozen dataclasses: what every other room reads and writes.

    Graph -> Program -> Problem -> Assignment -> Plan

`Graph` is the model as imported, `Program` its operators as steps over buffers, `Problem` adds the
chip and the objective, `Assignment` is a solver's decision, `Plan` the labelled decision that files
hold. An artefact never imports what makes it.
"""
