"""Linear systems with a positive definite matrix, small enough for plain lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def cholesky(matrix: Matrix) -> list[list[float]]:
    """Return the lower factor of a positive definite matrix."""
    lower: list[list[float]] = []
    for i, row in enumerate(matrix):
        lower.append([0.0] * len(matrix))
        for j in range(i + 1):
            rest = row[j] - sum(a * b for a, b in zip(lower[i][:j], lower[j][:j], strict=True))
            lower[i][j] = math.sqrt(rest) if i == j else rest / lower[j][j]
    return lower


def solve_lower(lower: Matrix, target: Sequence[float]) -> list[float]:
    """Solve ``lower x = target``."""
    solution: list[float] = []
    for i, row in enumerate(lower):
        dot = sum(a * b for a, b in zip(row[:i], solution, strict=True))
        solution.append((target[i] - dot) / row[i])
    return solution


def solve_upper(lower: Matrix, target: Sequence[float]) -> list[float]:
    """Solve ``lower^T x = target``."""
    solution = [0.0] * len(lower)
    for i in reversed(range(len(lower))):
        dot = sum(lower[j][i] * solution[j] for j in range(i + 1, len(lower)))
        solution[i] = (target[i] - dot) / lower[i][i]
    return solution
