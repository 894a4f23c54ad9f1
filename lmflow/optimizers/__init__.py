"""Optimizers: pure functions from (program, traces, metric) to a new version of a program's
parameters.

Each algorithm is a module; ``combinators`` makes optimizers of optimizers, ``parts`` holds what
several use, and ``registry`` lists the optimizers by name. Nothing is imported here, since the
executor needs ``parts.plan`` and no algorithm.
"""
