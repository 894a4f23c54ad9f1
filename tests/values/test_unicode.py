"""The laws of texts: whatever comes in, what is sent and what is kept as text is valid Unicode."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import chat, serving
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.data.dataset import splits_of
from lmflow.errors import NotFound, UnknownVersion
from lmflow.messages import ChatReply, ChatRequest, EmbedRequest, Message, ToolCall
from lmflow.traces.events import RefMoved
from lmflow.values.record import Record, canonical
from lmflow.values.unicode import escape_surrogates, well_formed

HALF = "half \ud83d of it"
anything = st.text(st.characters())


@given(anything)
def test_text_can_always_be_encoded(text: str) -> None:
    """Any text becomes valid Unicode, once and for all."""
    fixed = well_formed(text)
    assert fixed == fixed.encode().decode()
    assert fixed is well_formed(fixed)


@given(st.text())
def test_valid_text_stays(text: str) -> None:
    """A text without lone surrogates is the very same."""
    assert text is well_formed(text)


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        (HALF, "half \ufffd of it"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ],
)
def test_halves_are_joined_or_replaced(text: str, fixed: str) -> None:
    """Two halves that fit are their character; any other half is U+FFFD."""
    assert fixed == well_formed(text)


@given(anything)
def test_what_is_sent_can_be_encoded(text: str) -> None:
    """Texts of messages, calls, replies and texts to embed are valid Unicode."""
    call = ToolCall(text, text)
    reply = ChatReply(text, reasoning=text, refusal=text)
    texts = [
        Message("user", text).content,
        call.name,
        call.arguments,
        EmbedRequest((text,)).texts[0],
    ]
    texts += [reply.text, reply.reasoning, reply.refusal]
    assert {well_formed(text)} == set(texts)


def test_notes_and_ids_can_be_encoded() -> None:
    """The note of a version and the id of an example are valid Unicode."""
    assert "a\ufffd" == lf.Version(note="a\ud83d").note
    assert "a\ufffd" == lf.example_id({"id": "a\ud83d"})


@given(st.lists(anything))
def test_json_of_any_texts_can_be_encoded(texts: list[str]) -> None:
    """JSON for files can be encoded, and is read back with its lone surrogates; JSON joins pairs."""
    written = escape_surrogates(json.dumps(texts, ensure_ascii=False))
    joined = [
        text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        for text in texts
    ]
    assert joined == json.loads(written.encode())


@given(anything)
def test_values_keep_their_texts(text: str) -> None:
    """A record holds any text, and its canonical form is ASCII."""
    assert text == Record(text=text).text
    assert canonical({text: text}).isascii()


def _look(q: str) -> dict[str, Any]:
    return {"seen": HALF, "more": {HALF: [q]}}


LOOK = lf.tool("look", "q -> seen: str, more: dict[str, list[str]]", _look, version="1")
SAY = lf.predict("say", "seen, more: dict[str, list[str]] -> answer", "Say.")


@pytest.mark.parametrize("reply", [HALF, "whole"])
def test_halves_are_recorded_and_replayed(tmp_path: Path, reply: str) -> None:
    """A tool result, an input and a reply with half a pair are stored, sent and replayed."""
    sent: list[ChatRequest] = []

    def model(request: ChatRequest) -> str:
        sent.append(request)
        return reply

    async def run() -> str:
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(lf.scripted(model), store) as ex:
                return (await ex.run(LOOK >> SAY, q=HALF)).id

    trace_id = asyncio.run(run())
    assert "half \ufffd of it" in sent[0].messages[-1].content
    with lf.SqliteStore(tmp_path / "s.db") as store:
        trace = store.trace(trace_id)
        assert HALF == trace.inputs.q
        assert trace.root == lf.replay(trace, LOOK >> SAY).root


def test_words_of_judges_and_authors_can_be_encoded() -> None:
    """The feedback of a score, the reason of a move and the name of a split are valid Unicode."""
    assert "a\ufffd" == lf.Score(1.0, "a\ud83d").feedback
    assert "a\ufffd" == RefMoved("prod", "", "a\ud83d", 0).why
    assert ["a\ufffd"] == list(splits_of("qa", {"a\ud83d": [{"q": "x"}]}))


@pytest.mark.parametrize("find", ["trace", "run", "version", "dataset"])
def test_a_name_with_half_a_pair_is_not_found(tmp_path: Path, find: str) -> None:
    """A store that is asked for a name that no text can have says that there is none."""
    with lf.SqliteStore(tmp_path / "s.db") as store, pytest.raises((NotFound, UnknownVersion)):
        getattr(store, find)("a\ud83d")


async def test_tools_and_options_with_half_a_pair_are_sent(tmp_path: Path) -> None:
    """A tool's description, an option and a model's name are sent as valid Unicode, and stored."""
    tool = lf.tool("look", "q -> seen", _look, description="See \ud83d", version="1")
    agent = lf.react("q -> answer", [tool], "Look.", options={"stop": ["\ud83d"]})
    async with serving(chat("done")) as server:
        model = lf.model("openai/m\ud83d", base_url=server.url)
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(model, store) as ex:
                trace = await ex.run(agent, q="x")
            assert trace.root == lf.replay(store.trace(trace.id), agent).root
    body = server.seen[0].body
    assert ("m\ufffd", ["\ufffd"]) == (body["model"], body["stop"])
    assert "See \ufffd" == body["tools"][0]["function"]["description"]
