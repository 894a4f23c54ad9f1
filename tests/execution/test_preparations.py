"""An executor prepares a program and a version once, and holds what it prepared for a while."""

from __future__ import annotations

import pytest

import lmflow as lf
from lmflow.errors import Unbounded
from lmflow.execution.parts.preparations import Preparation, Preparations
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest
from lmflow.programs.environment import Env
from lmflow.values.record import EMPTY

ANSWER = lf.predict("answer", "question -> answer", "Answer in a few words.")


def _preparation(program: lf.Program) -> Preparation:
    return Preparation(program, Env(EMPTY), EMPTY)


async def _first_message(
    ex: lf.Executor, program: lf.Program, version: lf.Version | None
) -> Message:
    trace = await ex.run(program, version=version, question="Why?")
    request = trace.calls[0].request
    assert isinstance(request, ChatRequest)
    return request.messages[0]


async def test_runs_share_the_first_messages() -> None:
    """Runs of one program and version share their first messages; another version has its own."""
    other = lf.init(ANSWER).put({"answer.instruction": "Answer at length."})
    async with lf.Executor(lf.scripted({"": "So."})) as ex:
        first = await _first_message(ex, ANSWER, None)
        assert first is await _first_message(ex, ANSWER, None)
        longer = await _first_message(ex, ANSWER, other)
        assert "Answer at length." == longer.content != first.content
        assert first is await _first_message(ex, ANSWER, None)


async def test_a_budget_is_checked_each_time() -> None:
    """A step without a bound is refused by a budget of tokens, though it ran without one before."""
    async with lf.Executor(lf.scripted({"": "So."})) as ex:
        await ex.run(ANSWER, question="Why?")
        with pytest.raises(Unbounded, match="has no max_tokens"):
            await ex.limited(lf.Budget(tokens=10)).run(ANSWER, question="Why?")


def test_a_program_is_known_by_its_identity() -> None:
    """An equal program is prepared anew: what isn't compared, such as helpers, may differ."""
    held, version = Preparations(), lf.init(ANSWER)
    twin = lf.predict("answer", "question -> answer", "Answer in a few words.")
    assert twin == ANSWER
    mine = held.get(ANSWER, version, version, lambda: _preparation(ANSWER))
    assert mine is held.get(ANSWER, version, version, lambda: _preparation(ANSWER))
    assert twin is held.get(twin, version, version, lambda: _preparation(twin)).program


def test_the_oldest_is_let_go() -> None:
    """At most so many are held; the one that was used longest ago is made again."""
    held, made = Preparations(most=2), []
    programs = [lf.predict(name, "question -> answer") for name in "abc"]

    def get(program: lf.Program) -> None:
        version = lf.init(program)

        def make() -> Preparation:
            made.append(str(program))
            return _preparation(program)

        held.get(program, version, version, make)

    for place in (0, 1, 0, 2, 0, 1):
        get(programs[place])
    assert ["a", "b", "c", "b"] == made
