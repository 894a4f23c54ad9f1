"""The law of streams: ten times the deltas take at most fifteen times as long, whatever they hold.

Each delta is a reply of strangers that arrives while all other calls wait for the loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.adapters.registry import ADAPTERS, adapter_of
from lmflow.errors import ModelFailed
from lmflow.interpreter.pacing import PacedReader
from lmflow.interpreter.partial import ReplySource, new_reader
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.anthropic_messages import EventAccumulator
from lmflow.models.providers.openai_stream import ChunkAccumulator
from lmflow.models.transport import http
from lmflow.models.transport.json_pieces import JsonPieces
from lmflow.models.transport.routes import TooLarge, read_body
from lmflow.models.transport.sse import TextRelay

LONG = bool(os.environ.get("LMFLOW_TORTURE"))
DELTAS = 2_000 if LONG else 400
IGNORED = 0.02
"""Seconds below which a measurement says nothing."""


def _call(index: Any, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function, **more}]}


OPENAI: dict[str, Callable[[int], dict[str, Any]]] = {
    "content": lambda _: {"content": "word "},
    "parts": lambda _: {"content": [{"type": "text", "text": "a"}]},
    "halves": lambda _: {"content": "\ud83d"},
    "beginnings of the key": lambda _: {"content": "kkkkkkkkkkkkkkk"},
    "reasoning": lambda _: {"reasoning_content": "word "},
    "refusal": lambda _: {"refusal": "no "},
    "arguments": lambda n: _call(0, "f" if n == 0 else "", '{"a": "' if n == 0 else "x}"),
    "closed arguments": lambda _: _call(0, "f", "{}"),
    "the name again": lambda _: _call(0, "f", "}"),
    "many calls": lambda n: _call(n, "f", "{}", id=str(n)),
    "calls without index": lambda n: _call(None, "f", "{}", id=str(n)),
    "details": lambda _: {"reasoning_details": [{"index": 0, "text": "word "}]},
    "many details": lambda n: {"reasoning_details": [{"index": n, "text": "word "}]},
    "extra": lambda n: {"extra_content": {str(n): 1}},
}


def _delta(**delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


ANTHROPIC: dict[str, Callable[[int], dict[str, Any]]] = {
    "text": lambda _: _delta(text="word "),
    "thinking": lambda _: _delta(thinking="word "),
    "input": lambda _: _delta(partial_json="x}"),
    "blocks": lambda n: {
        "type": "content_block_start",
        "index": n,
        "content_block": {"type": "text", "text": "x"},
    },
    "usage": lambda n: {"type": "message_delta", "delta": {}, "usage": {str(n): 1}},
}
START: list[dict[str, Any]] = [
    {"type": "message_start", "message": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
]


def _listen(_: str) -> None:
    pass


def _openai(name: str, deltas: int) -> None:
    accumulator, text = ChunkAccumulator(), TextRelay(_listen, "k" * 40)
    for n in range(deltas):
        text.add(accumulator.add({"choices": [{"delta": OPENAI[name](n)}]}))
    text.end()
    accumulator.body()


def _anthropic(name: str, deltas: int) -> None:
    accumulator, text = EventAccumulator(), TextRelay(_listen, "k" * 40)
    for event in [*START, *map(ANTHROPIC[name], range(deltas))]:
        text.add(accumulator.add(event))
    text.end()
    accumulator.body()


STEP = lf.predict("step", "question -> a, b: list[str]")
PIECES = (
    ("word ", ""),
    ("word ", "<think>"),
    ("word ", '{"a": "'),
    ("word\n", "[[ ## a ## ]]\n"),
    ("[[", "[[ ## a ## ]]\n"),
    ("<think>", "[[ ## a ## ]]\nx"),
    ("</think>", "x"),
    ("\n", "[[ ## a ## ]]\n"),
    ('{"a":', ""),
    ("w ", "<a>"),
    ('"x",', '{"b":['),
    ("\\", '{"a": "'),
    (" ", ""),
)


def _read(adapter: str, unit: str, first: str, deltas: int) -> None:
    source = ReplySource(STEP, ChatRequest(()), "step[0]/call[0]", adapter=adapter_of(adapter))
    reader = PacedReader(new_reader(source))
    for piece in (first, *[unit] * deltas):
        reader.feed(piece)
    reader.feed("", last=True)


def _is_linear(work: Callable[[int], None], deltas: int = DELTAS) -> bool:
    def seconds(n: int) -> float:
        began = time.process_time()
        work(n)
        return time.process_time() - began

    small, large = seconds(deltas), seconds(10 * deltas)
    if large > 15 * max(small, IGNORED):  # once more, since another process may have disturbed
        small, large = (min(seconds(n) for _ in range(3)) for n in (deltas, 10 * deltas))
    return large <= 15 * max(small, IGNORED)


@pytest.mark.parametrize("name", sorted(OPENAI))
def test_joining_chunks_is_linear(name: str) -> None:
    """A stream of an OpenAI-compatible endpoint is joined in linear time."""
    assert _is_linear(lambda deltas: _openai(name, deltas))


@pytest.mark.parametrize("name", sorted(ANTHROPIC))
def test_joining_events_is_linear(name: str) -> None:
    """A stream of the Messages API is joined in linear time."""
    assert _is_linear(lambda deltas: _anthropic(name, deltas))


@pytest.mark.parametrize("adapter", [adapter.name for adapter in ADAPTERS])
def test_reading_pieces_is_linear(adapter: str) -> None:
    """The outputs of a streamed reply are read in linear time, piece by piece."""
    slow = [
        (unit, first)
        for unit, first in PIECES
        if not _is_linear(lambda n, u=unit, f=first: _read(adapter, u, f, n), 500)  # type: ignore[misc]
    ]
    assert [] == slow


class _Answer:
    """An answer whose body comes in pieces of 64 kB."""

    def __init__(self, piece: bytes, count: int) -> None:
        self.content = self
        self._pieces = [piece] * count

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def read(self, _: int) -> bytes:
        return self._pieces.pop() if self._pieces else b""


async def test_a_long_line_is_joined_once_and_then_refused() -> None:
    """A line of 48 MB takes under 2 seconds to read; one of 60 MB is refused."""
    piece, url = b"x" * 65_536, "http://127.0.0.1:1/v1"
    began = time.process_time()
    lines = [line async for line in http._lines(_Answer(piece, 740), url)]  # type: ignore[arg-type]
    body = await read_body(_Answer(piece, 740), http.LARGEST_BODY)  # type: ignore[arg-type]
    assert time.process_time() - began < 2
    assert [740 * 65_536] == [len(line) for line in lines]
    assert 740 * 65_536 == len(body)
    with pytest.raises(TooLarge):
        await read_body(_Answer(piece, 920), http.LARGEST_BODY)  # type: ignore[arg-type]
    with pytest.raises(ModelFailed, match="more than 50 MB"):
        [line async for line in http._lines(_Answer(piece, 920), url)]  # type: ignore[arg-type]


@pytest.mark.parametrize("pieces", [["{}"], ['{"a": "}', '\\"', '"}'], ["{", " ", "}", "\n"]])
def test_pieces_that_are_an_object_are_known(pieces: list[str]) -> None:
    """However an object is cut, it is whole at its end and not before."""
    arguments = JsonPieces()
    for piece in pieces[:-1]:
        assert not arguments.is_object or "".join(pieces).strip() == arguments.text
        arguments.add(piece)
    arguments.add(pieces[-1])
    assert arguments.is_object
    arguments.add("x")
    assert not arguments.is_object
