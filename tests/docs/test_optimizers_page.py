"""The page on optimizers: its Python runs from top to bottom, and it names them all."""

from __future__ import annotations

import ast
import inspect
import re
from types import FunctionType
from typing import Any

from paths import ROOT

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.registry import OPTIMIZERS
from lmflow.values.record import digest

PAGE = (ROOT / "docs" / "optimizers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def said(request: ChatRequest) -> str:
    """One of a few words, by the hash of what is asked."""
    words = ["yes", "no", "Think.", "Try.", "Decide."]
    return words[
        int(digest("pick", [message.content for message in request.messages])[-8:], 16) % len(words)
    ]


async def test_the_page_runs() -> None:
    """Each block runs after those before it, on a scripted model, and ends with a version."""
    async with lf.Executor(lf.scripted(said), lf.MemoryStore()) as ex:
        known: dict[str, Any] = {"ex": ex}
        for text in BLOCKS:
            result = FunctionType(
                compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), known
            )()
            if inspect.iscoroutine(result):
                await result
    done = [value for value in known.values() if isinstance(value, lf.Optimization)]
    assert 18 == len(done)
    assert [] == [it.optimizer.name for it in done if it.stopped]


def test_every_optimizer_is_on_the_page() -> None:
    """What can be asked for by name, and what is made of others."""
    names = [*OPTIMIZERS, "guard", "chain", "only", "first_best", "within"]
    assert [] == [name for name in names if f"`{name}`" not in PAGE and f"lf.{name}(" not in PAGE]
