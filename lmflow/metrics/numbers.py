"""A metric over numbers in text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from lmflow.errors import BadScore
from lmflow.metrics.base import FunctionMetric, Score
from lmflow.metrics.fields import pick, shipped, text_of


def numeric(
    field: str = "answer", gold: str = "", *, tolerance: float = 0.0, relative: float = 0.0
) -> FunctionMetric:
    """1 if the last number of the output equals the example's, as GSM8K's answers are read (Cobbe
    et al. 2021).

    Commas of thousands and signs are read, words and fractions aren't.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name.
        tolerance: The absolute difference up to which numbers are equal.
        relative: The difference up to which they are, as a fraction of the larger number.

    Raises:
        BadScore: When it scores an example without a number.

    Example:
        >>> lf.metrics.numeric()({"answer": "12"}, {"answer": "So 3 * 4 = 12."}).value
        1.0
    """
    return shipped(
        _numeric,
        last_number,
        text_of,
        field=field,
        gold=gold or field,
        tolerance=tolerance,
        relative=relative,
    )


def last_number(text: str) -> float | None:
    """The last number of a text: ``"$1,234.50."`` is 1234.5; a minus counts unless a word or digit
    precedes it.
    """
    number = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
    found = re.findall(rf"(?:(?<![\w.)])[-\u2212])?\$?(?:{number})", text)
    return (
        float(found[-1].replace(",", "").replace("$", "").replace("\u2212", "-")) if found else None
    )


def _numeric(  # noqa: PLR0913 - its options
    example: Mapping[str, Any],
    outputs: Mapping[str, Any],
    *,
    field: str,
    gold: str,
    tolerance: float,
    relative: float,
) -> Score:
    output, reference = text_of(pick(outputs, field)), text_of(pick(example, gold))
    found, wanted = last_number(output), last_number(reference)
    if wanted is None:
        problem = f"the example's {gold!r} has no number ({reference!r:.80})"
        raise BadScore("numeric", problem, "Mend the example, or name the field that has: gold=...")
    if found is None:
        return Score(0.0, "there is no number in it")
    right = math.isclose(found, wanted, rel_tol=relative, abs_tol=tolerance)
    return Score(float(right), "" if right else f"expected {wanted:g}, found {found:g}")
