"""Scores of recorded runs: evaluations, paired comparisons, statistics, curves, judges, and their
tables and charts.

Nothing here runs a program; `lmflow.execution` does.
"""
