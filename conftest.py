"""The fences of the README and the docs are tests: tests/support/fences.py says how they run."""

from fences import SYBIL

pytest_collect_file = SYBIL.pytest()
