"""A folder with a program and a store of its traffic under two versions, for tests of commands."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest

APP = """
import lmflow as lf

rewrite = lf.predict("rewrite", "question -> query", "Write a query.")
search = lf.tool("search", "query -> context: list[str]", lambda query: ["Two minutes."], version="1")
answer = lf.predict("answer", "context: list[str], question -> answer, sure: bool", "Answer briefly.")
rag = rewrite >> search >> answer
grade = lf.predict("grade", "response -> score: float", "Grade it.")
judge = lf.Judge(grade, reads={"response": "outputs.answer"})


def brief(example, outputs):
    return float(len(outputs.answer) < 20)


def right(example, outputs):
    return float(example["answer"] in outputs.answer)
"""
ROWS = [
    {"id": f"e{n}", "question": f"How long, {n}?", "answer": "two minutes" if n else "five"}
    for n in range(4)
]
PRICE = 1000
"""Nano-dollars of a token of a prompt."""


def reply(request: ChatRequest) -> ChatReply:
    """Answer as a model would: at length unless told to be brief, and the last row not as asked."""
    system, text = request.messages[0].content, request.messages[-1].content
    if "[[context]]" not in text:
        return ChatReply("[[query]]\ntea", usage=Usage(20, 2))
    if "How long, 3?" in text:
        return ChatReply("I don't know.", usage=Usage(100, 5))
    long = "It takes two minutes in all, I believe."
    words = "two minutes" if "briefly" in system else long
    return ChatReply(f"[[answer]]\n{words}\n[[sure]]\ntrue", usage=Usage(100, 10))


def traffic_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the current one, with a program, and a store with two evaluations and a run.

    ``prod`` answers briefly, ``main`` is its child and answers at length; row ``e3`` fails.
    """
    name = f"tapp_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in ("LMFLOW_STORE", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    asyncio.run(_record(importlib.import_module(name), name))
    return tmp_path


async def _record(app: object, name: str) -> None:
    rag = app.rag  # type: ignore[attr-defined]
    first = lf.init(rag)
    longer = first.put({"answer.instruction": "Answer at length."}, note="longer")
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "prod", first, why="begin")
        lf.commit(store, "main", first, longer, why="longer")
        async with lf.Executor(
            lf.scripted(reply),
            store,
            target=f"{name}:rag",
            prices=lambda _model, usage, _at: PRICE * (usage.prompt or 0),
            concurrency=1,
        ) as ex:
            for ref in ("prod", "main"):
                await ex.evaluate(rag, ROWS, app.brief, version=ref)  # type: ignore[attr-defined]
            await ex.run(rag, version="prod", question="How long?")
