"""Optimizers: pure functions from (program, traces, metric) to a new version of a program's parameters."""
