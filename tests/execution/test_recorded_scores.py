"""The laws of scores that a person or a program gives a trace: they are finite numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmflow as lf
from lmflow.errors import BadScore

ANSWER = lf.predict("answer", "question -> answer")


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), 0.5])
async def test_a_number_of_numpy_is_recorded(tmp_path: Path, value: Any) -> None:
    """A score is recorded as the number that it is."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(lambda _: "x"), store) as ex:
            trace = await ex.run(ANSWER, question="?")
            await ex.score(trace, value, name="good")
        assert [0.5] == [score.value for score in store.scores(trace.id)]


@pytest.mark.parametrize("value", [math.nan, np.float64("inf"), 10**400, "1"])
async def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    """A score that isn't a finite number is refused by name, and isn't recorded."""
    async with lf.Executor(lf.scripted(lambda _: "x")) as ex:
        trace = await ex.run(ANSWER, question="?")
        with pytest.raises(BadScore, match="metric good: it gave"):
            await ex.score(trace, value, name="good")
