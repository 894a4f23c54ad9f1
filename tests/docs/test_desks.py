"""The laws of the demo's routing task, and its search with a scripted model."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT
from rich.console import Console

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Model

sys.path.insert(0, str(ROOT / "examples" / "desks"))

import desks
import tuning

PARTS = {part: desks.questions(part) for part in ("train", "select", "held")}


def test_no_question_is_in_two_parts() -> None:
    """Nothing that is judged on was shown or chosen by."""
    texts = [row["question"].casefold() for rows in PARTS.values() for row in rows]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("part", PARTS)
def test_each_desk_has_as_many_questions(part: str) -> None:
    """A model that always names one desk is right once in six."""
    counts = Counter(row["desk"] for row in PARTS[part])
    assert (6, 1) == (len(counts), len(set(counts.values())))


@contextlib.contextmanager
def _nothing_off() -> Iterator[None]:
    yield


def _learner(request: ChatRequest) -> str:
    """Answer rightly if the prompt shows a question of the same desk, else by the first desk."""
    text = "\n".join(message.content for message in request.messages)
    question = request.messages[-1].content
    row = next(row for rows in PARTS.values() for row in rows if row["question"] in question)
    shown = [each for each in PARTS["train"] if each["question"] in text and each is not row]
    return row["desk"] if any(each["desk"] == row["desk"] for each in shown) else "atlas"


def _stubborn(request: ChatRequest) -> str:
    """Name the first desk, whatever is shown."""
    del request
    return "atlas"


async def _printed(model: Model, folder: Path, size: tuning.Size) -> str:
    out = Console(record=True, width=130, soft_wrap=True, file=io.StringIO())
    await tuning.tune(model, out, out.print, _nothing_off, size, folder / "lmflow.db")
    return out.export_text()


async def test_a_gain_is_shown(tmp_path: Path) -> None:
    """With a model that learns from examples the demo shows the gain, the roll back, the replay."""
    text = await _printed(lf.scripted(_learner), tmp_path, tuning.full_size())
    assert "before   0.167" in text
    assert "gain     0.833 [" in text
    assert "rolled back: 0.167" in text
    assert "0 calls sent" in text
    assert text.rstrip().endswith("identical")


@pytest.mark.parametrize("size", [tuning.full_size(), tuning.small_size()], ids=["full", "small"])
async def test_no_gain_is_said(tmp_path: Path, size: tuning.Size) -> None:
    """With a model that learns nothing the demo says so, and the start version stays."""
    text = await _printed(lf.scripted(_stubborn), tmp_path, size)
    assert "no gain" in text
    assert "gain     " not in text.replace("no gain", "")
    assert text.rstrip().endswith("identical")
