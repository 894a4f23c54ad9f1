"""Recordings driven again: exact replay, reuse, what-if plans, divergence, and where an answer
comes from.

Nothing here sends a request; `lmflow.execution` sends what a plan leaves open.
"""
