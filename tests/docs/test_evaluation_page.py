"""The page on evaluation: its Python runs from top to bottom."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

from paths import ROOT

import lmflow as lf

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


async def test_the_page_runs(tmp_path: Path) -> None:
    """Each block runs after those before it, on a scripted model."""
    async with lf.Executor(lf.scripted({"France": "Paris", "Peru": "Bogotá"})) as ex:
        tuned = [{"id": "q1", "question": "France"}, {"id": "q2", "question": "France"}]
        known: dict[str, Any] = {
            "ex": ex,
            "tuned_run": await ex.map(lf.predict("answer", "question -> answer"), tuned),
        }
        for number, text in enumerate(BLOCKS):
            path = (
                tmp_path / f"block_{number}.py"
            )  # a metric is keyed by its source, so there is a file
            path.write_text(text, encoding="utf-8")
            code = compile(text, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = FunctionType(code, known)()
            if inspect.iscoroutine(result):
                await result
    assert "exact_match 0.500" in str(known["before"])
    assert "can't tell: b - a = 0.000" in str(known["found"])
    assert (
        "say one word"
        == known["short_and_right"](lf.Record(answer="a"), lf.Record(answer="a b")).feedback
    )


def test_every_shipped_metric_is_on_the_page() -> None:
    """What is exported for evaluation is named."""
    names = "dataset split Data metric Score Judge compare scores_from semantic_f1 grounded pairwise".split()
    shipped = [
        name
        for name in lf.__all__
        if getattr(getattr(lf, name), "__module__", "").startswith("lmflow.metrics")
    ]
    assert [] == [name for name in [*names, *shipped] if name not in PAGE]
