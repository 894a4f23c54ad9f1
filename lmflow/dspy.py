"""Programs and versions of DSPy: ``from_dspy`` reads a saved state, ``to_dspy`` writes one."""

from lmflow.programs.dspy import from_dspy, to_dspy

__all__ = ["from_dspy", "to_dspy"]
