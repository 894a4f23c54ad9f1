"""A recorded stream played again, with the borders of its chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.partial import (
    JsonReader,
    MarkerReader,
    Partial,
    Source,
    again,
    pieces,
    reading,
)
from lmflow.messages.replies import ChatReply, Failure
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.exact import replay
from lmflow.replays.reuse import recorded_env
from lmflow.traces.trace import CallAttempt, Trace


def replay_stream(trace: Trace, program: Program | None = None) -> Iterator[Partial]:
    """What a streamed run showed, in the pieces in which it came: an exact replay, so nothing goes
    outside.

    Steps come one after the other, in program order. Of a call that was asked again only the
    attempt that counts is on record. ``ReplayDiverged`` where the trace can't be replayed.
    """
    code: Program = replay(trace, program).code
    heard: list[tuple[Source, ChatReply]] = []

    def recall(_: Call, address: str) -> Any:
        return _answered(trace.answers[address])

    def told(step: Program, call: Call, address: str, answer: Any) -> None:
        if isinstance(answer, ChatReply):
            heard.append((Source(step, call.request, address, wanted=call.wanted), answer))

    with contextlib.suppress(
        Exception
    ):  # the failure that it ended with, which the replay has checked
        env = recorded_env(trace, code)
        drive_pure(code(**trace.inputs), env, recall, trace.choices, told)
    yield from _shown(heard)


def _shown(heard: list[tuple[Source, ChatReply]]) -> Iterator[Partial]:
    readings: dict[str, MarkerReader | JsonReader] = {}
    for source, reply in heard:
        now = reading(source)
        if now.address in readings:
            now, void = again(readings[now.address], source)
            yield from void
        for piece in pieces(reply):
            now, parts = now.fed(piece)
            yield from parts
        readings[now.address], parts = now.fed("", last=True)
        yield from parts


def _answered(asked: CallAttempt) -> Any:
    if isinstance(asked.outcome, Failure):
        raise asked.outcome.error()
    return asked.outcome
