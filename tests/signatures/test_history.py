"""The laws of histories: values that are rendered as the messages that they were, recorded, and
replayed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import lines, records

import lmflow as lf
from lmflow.errors import WrongType
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest
from lmflow.signatures.codec import convert
from lmflow.signatures.history import History, Turn
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.values.record import plain

ASK = lf.predict("ask", "history: History = {}, question -> answer", "Answer.")
WHY = lf.predict("why", "history: History = {}, question -> reasoning, answer", "Answer.")
QUERY = lf.predict("query", "history: History, question -> query", "Write a query.")
TWO = (
    History()
    .then({"question": "Who?"}, {"answer": "Ada"})
    .then({"question": "When?"}, {"answer": "1815"})
)
STEPS = {"chat": ASK, "json": lf.predict("ask", ASK.signature, "Answer.", adapter="json")}

turns = st.builds(Turn, records.filter(bool), records.filter(bool))
histories = st.lists(turns, max_size=3).map(lambda found: History(tuple(found)))


def shown(step: lf.Program, **inputs: Any) -> list[tuple[str, str]]:
    """The messages after the system's, as pairs."""
    return [(message.role, message.content) for message in lf.render(step, inputs)[1:]]


@given(histories)
def test_stored_and_read_it_is_the_same(history: History) -> None:
    """The JSON values of a history are read as an equal one, which pickles to itself."""
    assert history == convert(plain(history), History)
    assert history == pickle.loads(pickle.dumps(history))  # noqa: S301 - our own


@given(histories, turns)
def test_then_adds_one_turn_and_changes_nothing(history: History, turn: Turn) -> None:
    """A history is a value: ``then`` gives another, whose last turn is the new one."""
    after = history.then(turn.inputs, turn.outputs)
    assert (len(history) + 1, turn) == (len(after), after.turns[-1])
    assert history.turns == after.turns[:-1]


@pytest.mark.parametrize(
    ("n", "kept"), [(0, ()), (1, TWO.turns[1:]), (2, TWO.turns), (9, TWO.turns)]
)
def test_the_newest_turns(n: int, kept: tuple[Turn, ...]) -> None:
    """``last(n)`` are the newest, in their order, or all."""
    assert kept == TWO.last(n).turns


def test_fewer_than_none_are_refused() -> None:
    """A negative number of turns is an error."""
    with pytest.raises(ValueError, match="at least 0, found -1"):
        TWO.last(-1)


@pytest.mark.parametrize("stored", [False, True])
def test_a_turn_does_not_hold_its_own_history(stored: bool) -> None:  # noqa: FBT001
    """``then`` of a trace's inputs leaves the history among them out, typed or as a store holds it."""
    held: Any = plain(TWO) if stored else TWO
    assert {"question": "Where?"} == plain(
        TWO.then({"question": "Where?", "history": held}, {"answer": "x"}).turns[-1].inputs
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "side"), [({}, {"a": 1}, "inputs"), ({"q": 1}, {}, "outputs")]
)
def test_half_a_turn_is_refused(inputs: dict[str, Any], outputs: dict[str, Any], side: str) -> None:
    """A turn has both sides, also one that is given as JSON."""
    with pytest.raises(ValueError, match=f"has no {side}"):
        History().then(inputs, outputs)
    with pytest.raises(WrongType, match=f"has no {side}"):
        ASK(question="x", history={"turns": [{"inputs": inputs, "outputs": outputs}]})


def test_turns_are_messages_before_the_inputs() -> None:
    """In chat each turn is what was asked and what was answered, the oldest first; then the inputs
    without history.
    """
    assert [
        ("user", "[[question]]\nWho?"),
        ("assistant", "Ada"),
        ("user", "[[question]]\nWhen?"),
        ("assistant", "1815"),
        ("user", "[[question]]\nWhere?"),
    ] == shown(ASK, question="Where?", history=TWO)


def test_turns_are_in_the_adapters_form() -> None:
    """In JSON an earlier answer is the object that the step would have replied with."""
    assert ("assistant", '{"answer": "Ada"}') == shown(
        STEPS["json"], question="Where?", history=TWO
    )[1]


def test_several_outputs_stand_in_sections() -> None:
    """An earlier answer of several fields is in the form that is asked for."""
    history = History().then({"question": "Who?"}, {"answer": "Ada", "reasoning": "So."})
    assert "[[reasoning]]\nSo.\n[[answer]]\nAda" == shown(WHY, question="x", history=history)[1][1]


def test_another_steps_turns_are_shown_whole() -> None:
    """A step that rewrites a question reads what another one answered, all of it."""
    assert ("assistant", "Ada") == shown(QUERY, question="x", history=TWO)[1]
    both = History().then({"question": "Who?"}, {"answer": "Ada", "source": "a book"})
    assert ("assistant", "[[answer]]\nAda\n[[source]]\na book") == shown(
        QUERY, question="x", history=both
    )[1]


def test_without_turns_nothing_changes() -> None:
    """No history, or an empty one, is the step without the field: the same messages."""
    plainly = lf.predict("ask", "question -> answer", "Answer.")
    for inputs in ({}, {"history": History()}):
        assert lf.render(plainly, {"question": "x"}) == lf.render(ASK, {"question": "x", **inputs})


def test_demonstrations_come_first() -> None:
    """Demonstrations stand before the history; one with a history of its own stands after that."""
    demo = {"question": "Why?", "answer": "Because", "history": plain(TWO.last(1))}
    step = lf.predict("ask", ASK.signature, "Answer.", demos=[demo])
    roles = shown(step, question="Where?", history=TWO)
    expected = ["When?", "1815", "Why?", "Because", "Who?", "Ada", "When?", "1815", "Where?"]
    assert expected == [content.removeprefix("[[question]]\n") for _, content in roles]


def test_a_signature_reads_it_by_name() -> None:
    """``History`` is a type of signatures, written as it is read, and part of the key."""
    assert "history: History, question -> query" == str(QUERY.signature)
    assert QUERY.signature == lf.predict("query", str(QUERY.signature)).signature
    assert QUERY.key != lf.predict("query", "question -> query", "Write a query.").key


@pytest.mark.parametrize("adapter", ["chat", "json"])
@given(history=histories, question=lines)
async def test_what_is_rendered_is_sent(adapter: str, history: History, question: str) -> None:
    """A call's messages are those of ``lf.render``, whatever the turns hold, and roles alternate."""
    step = STEPS[adapter]
    sent: list[tuple[Message, ...]] = []

    def say(request: ChatRequest) -> str:
        sent.append(request.messages)
        return '{"answer": "ok"}'

    async with lf.Executor(lf.scripted(say)) as ex:
        await ex.run(step, question=question, history=history)
    assert [lf.render(step, {"question": question, "history": history})] == sent
    assert ["system", *["user", "assistant"] * len(history), "user"] == [
        message.role for message in sent[0]
    ]


async def test_a_conversation_is_recorded_and_replays(tmp_path: Path) -> None:
    """Turn by turn, kept in a store: each replays to its root, and its inputs go on from where they
    were read.
    """
    with SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(
            lf.scripted(lambda r: f"{len(r.messages)} messages"), store=store
        ) as ex:
            history = History()
            for question in ("one", "two", "three"):
                trace = await ex.run(ASK, question=question, history=history)
                assert trace.outputs is not None
                history = history.then(trace.inputs, trace.outputs)
        found = store.trace(trace.id)
    assert trace.outputs is not None
    assert ("6 messages", 3) == (trace.outputs.answer, len(history))
    assert found.root == lf.replay(found, ASK).root
    assert history == convert(plain(found.inputs.history), History).then(
        found.inputs, trace.outputs
    )


@pytest.mark.parametrize("form", ["native", "chat"])
def test_an_agent_goes_on_from_earlier_turns(form: str) -> None:
    """What was asked and answered before stands before the task, also where a model is offered
    tools.
    """
    tool = lf.tool("look", "name -> found", str.upper, version="1")
    agent = lf.react("history: History = {}, question -> answer", [tool], adapter=form)
    shown = lf.render(agent, {"question": "Where?", "history": TWO}, step="react.act")
    said = [message.content for message in shown if message.role != "system"]
    assert [
        "[[question]]\nWho?",
        "Ada",
        "[[question]]\nWhen?",
        "1815",
        "[[question]]\nWhere?",
    ] == said
    assert not any("[[history]]" in message.content for message in shown)
