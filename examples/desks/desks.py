"""Route a question to one of a library's six desks, whose names say little about what they know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lmflow as lf

HERE = Path(__file__).resolve().parent

route = lf.predict(
    "route",
    'question -> desk: Literal["atlas", "census", "diary", "ladder", "lexicon", "portrait"]',
    "Name the desk of the library that answers the question.",
    options={"temperature": 0, "max_tokens": 16},
)

right = lf.exact_match("desk")


def questions(part: str) -> list[dict[str, Any]]:
    """Read the questions of a part: ``train``, ``select`` or ``held``."""
    lines = (HERE / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def data() -> lf.Data:
    """Return the questions to show, to choose by, and to judge on."""
    return lf.Data(train=questions("train"), select=questions("select"), held=questions("held"))
