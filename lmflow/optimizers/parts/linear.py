"""Linear systems with a positive definite matrix, small enough for plain lists."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def cholesky(matrix: Matrix) -> list[list[float]]:
    """Return the lower factor of a positive definite matrix, row by row up to the diagonal. Of the
    matrix the lower triangle alone is read.
    """
    lower: list[list[float]] = []
    for i, row in enumerate(matrix):
        factor_row: list[float] = []
        lower.append(factor_row)
        for j in range(i + 1):
            # `map` ends with the shorter row, so the product takes the columns before j alone.
            rest = row[j] - sum(map(operator.mul, factor_row, lower[j]))
            factor_row.append(math.sqrt(rest) if i == j else rest / lower[j][j])
    return lower


def solve_lower(lower: Matrix, target: Sequence[float]) -> list[float]:
    """Solve ``lower x = target``."""
    solution: list[float] = []
    for i, row in enumerate(lower):
        dot = sum(map(operator.mul, row, solution))
        solution.append((target[i] - dot) / row[i])
    return solution


def solve_upper(lower: Matrix, target: Sequence[float]) -> list[float]:
    """Solve ``lower^T x = target``."""
    solution = list(target)
    for i in reversed(range(len(lower))):
        row = lower[i]
        solution[i] /= row[i]
        for j in range(i):
            solution[j] -= row[j] * solution[i]
    return solution
