"""Examples: data sets, the readers of files, splits, and the conditions that select executions.
Stores keep data sets, and ``lmflow.evaluation`` scores programs on them.
"""
