"""Recordings run again: exact replay, reuse, what-if plans, divergence and provenance.

Nothing here sends a request; `lmflow.execution` sends what a plan leaves open. README.md beside
this file explains how the parts fit together.
"""
