"""Replays a recorded stream in the pieces in which it came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.registry import own_adapters
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.pacing import PacedReader
from lmflow.interpreter.partial import (
    Partial,
    ReplySource,
    new_reader,
    reply_pieces,
    restart_reader,
)
from lmflow.messages.replies import ChatReply
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.exact import replay
from lmflow.replays.reuse import outcome_or_raise, recorded_env
from lmflow.traces.trace import Trace


def replay_stream(
    trace: Trace, program: Program | None = None, *, adapters: Iterable[Adapter] = ()
) -> Iterator[Partial]:
    """Replay what a streamed run showed, in the pieces in which it came. Nothing is sent.

    Steps come one after the other, in program order. If a call was retried, only the attempt that
    counts is on record.

    Args:
        trace: The recorded execution, streamed or not.
        program: The program that was recorded; needed if the trace was read from a store.
        adapters: The adapters of your own that the executor chose by model.

    Yields:
        The pieces of the outputs, as ``ex.stream`` yields them.

    Raises:
        ReplayDiverged: The trace can't be replayed with the program.
        TypeError: The trace was read from a store and ``program`` is missing.
    """
    known = own_adapters(adapters)
    code: Program = replay(trace, program, adapters=known).code
    replies: list[tuple[ReplySource, ChatReply]] = []

    def recall(_: Call, address: str) -> Any:
        return outcome_or_raise(trace.answers[address].outcome)

    def on_answer(step: Program, call: Call, address: str, answer: Any) -> None:
        if isinstance(answer, ChatReply):
            source = ReplySource(
                step, call.request, address, wanted=call.wanted, adapter=call.adapter
            )
            replies.append((source, answer))

    with contextlib.suppress(Exception):  # the recorded failure, which `replay` has compared
        env = recorded_env(trace, code, known=known)
        drive_pure(code(**trace.inputs), env, recall, trace.choices, on_answer)
    yield from _read_replies(replies)


def _read_replies(replies: list[tuple[ReplySource, ChatReply]]) -> Iterator[Partial]:
    readers: dict[str, PacedReader] = {}
    for source, reply in replies:
        reader = new_reader(source)
        if reader.address in readers:
            reader, retractions = restart_reader(readers[reader.address].reader, source)
            yield from retractions
        paced = readers[reader.address] = PacedReader(reader)
        for piece in reply_pieces(reply):
            yield from paced.feed(piece)
        yield from paced.feed("", last=True)
