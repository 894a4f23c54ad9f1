"""Public data sets, where LMFLOW_DATA names a folder of them: they are read, parted, and score 1
against themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.metrics import FunctionMetric

FOLDER = Path(os.environ.get("LMFLOW_DATA", ""))
FILES = sorted(FOLDER.rglob("dev.jsonl")) if os.environ.get("LMFLOW_DATA") else []

pytestmark = pytest.mark.skipif(not FILES, reason="LMFLOW_DATA names no folder with data sets")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_set_is_read_and_parted(path: Path) -> None:
    """Every row has an id of its own, and three parts cover the set."""
    rows = lf.dataset(path, drop_repeats=True)
    parts = (
        lf.split(rows, {"train": 0.5, "select": 0.3, "held": 0.2})
        if len(rows) > 9
        else {"all": rows}
    )
    assert {*rows.ids} == {name for part in parts.values() for name in part.ids}


@pytest.mark.parametrize(
    ("name", "metric", "field", "gold"),
    [
        ("squad", lf.squad_em(), "answer", "answer"),
        ("squad", lf.squad_f1(), "answer", "answer"),
        ("hotpotqa", lf.hotpot_f1(), "answer", "answer"),
        ("hotpotqa", lf.recall_at_k(2), "ids", "gold_ids"),
        ("gsm8k", lf.numeric(), "answer", "answer"),
        ("svamp", lf.numeric(), "answer", "answer"),
        ("banking10", lf.exact_match("label", normalize=False), "label", "label"),
        ("wikigold", lf.slot_f1("entities"), "entities", "entities"),
        ("wnut17", lf.slot_f1("entities"), "entities", "entities"),
        ("snips", lf.slot_f1(), "slots", "slots"),
        ("nlupp", lf.set_f1("intents"), "intents", "intents"),
    ],
)
def test_the_reference_scores_1(name: str, metric: FunctionMetric, field: str, gold: str) -> None:
    """The reference as an answer is right, on every row."""
    scores = [metric(row, {field: row[gold]}) for row in lf.dataset(FOLDER / name / "dev.jsonl")]
    assert {1.0} == {score.value for score in scores}
