"""The time of the compute unit: one module for each model that a target may choose.

work            what a step does, as loop nests
listed          figures by data type, and what stands in for a missing one
peak            MACs over their rate, beside vector elements over theirs
peaks           the most that a unit multiplies
systolic        folds of a weight-stationary array
mac_blocks      blocks of the output, made of small units
kernel_cycles   cycles per MAC and per element
op_costs        times measured or simulated elsewhere, which replace a model
model           the choice among them
"""
