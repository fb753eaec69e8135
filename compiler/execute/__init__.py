"""Proof by execution: a model is run by its plan in flat memory, and compared with onnxruntime.

`runner` is the entry, `job` walks over the steps (`timetable` sorts the plan by step), `arena` is
the memory, `kernels` run single operators, `data` draws inputs and weights, `compare` judges
outputs.
"""
