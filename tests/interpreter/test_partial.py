"""The laws of outputs as they come: however a reply is cut, the pieces make up what the whole reply
holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamed import folded

import lmflow as lf
from lmflow.interpreter.partial import (
    Partial,
    ReplySource,
    new_reader,
    reply_pieces,
    restart_reader,
)
from lmflow.interpreter.predict import Unreadable, read_outputs
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest

TWO = lf.predict("step", "question -> reason, answer")
ONE = lf.predict("step", "question -> answer")
MARKS = [
    "[[reason]]",
    "[[answer]]",
    "[[ ## answer ## ]]:",
    "[[other]]",
    "[[reason",
    "answer]]",
    "[[question]]",
    "[[package]]",
    "[[ ## completed ## ]]",
    "<think>",
    "</think>",
    "</thi",
    "<reasoning>",
    "```",
    "\n```py\n",
    "\n    ",
    "[[",
    "]]",
    "[",
]
PARTS = st.sampled_from([*MARKS, "\n", " ", ":", "\t", "a b", "é", "\x1c"])
replies = st.lists(PARTS | st.text(max_size=3), max_size=14).map("".join)


def read(step: lf.Program, text: str, cuts: Iterable[int] = ()) -> list[Partial]:
    """The parts of a reply that comes in pieces."""
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    now = new_reader(ReplySource(step, ChatRequest(()), "step[0]/call[0]"))
    found: list[Partial] = []
    for start, end in pairwise(borders):
        now, parts = now.feed(text[start:end])
        found += parts
    return [*found, *now.feed("", last=True)[1]]


@pytest.mark.parametrize("step", [ONE, TWO], ids=["one", "two"])
@given(text=replies, cuts=st.lists(st.integers(0, 40), max_size=40))
def test_the_pieces_are_the_whole(step: lf.Program, text: str, cuts: list[int]) -> None:
    """For any cut of a reply, the pieces of each text field put together are what the whole reply
    is parsed to.
    """
    found = folded(read(step, text, cuts))
    try:
        whole = read_outputs(step.signature, text)
    except Unreadable:
        return
    assert {name: value for name, value in whole.items() if value} == {
        n: value for n, value in found.items() if value
    }


@given(text=replies, cuts=st.lists(st.integers(0, 40), max_size=40))
def test_cuts_change_no_text(text: str, cuts: list[int]) -> None:
    """One letter at a time or all at once: the same texts; a text that became void is none."""
    at_once, in_pieces, by_letters = (
        {name: value for name, value in folded(read(TWO, text, each)).items() if value}
        for each in ((), cuts, range(60))
    )
    assert at_once == in_pieces == by_letters


def test_text_comes_as_soon_as_it_is_certain() -> None:
    """A piece of a section is there at once; what may become a marker, and space at the end, are
    held back.
    """
    now = new_reader(ReplySource(TWO, ChatRequest(()), "a/step[0]/call[0]"))
    shown = []
    for piece in ["[[reason]]\nBe", "cause ", "it is.\n", "[[", "answer]]", "\n4"]:
        now, parts = now.feed(piece)
        shown.append([(part.field, part.text) for part in parts])
    assert [
        [("reason", "Be")],
        [("reason", "cause")],
        [("reason", " it is.")],
        [],
        [],
        [("answer", "4")],
    ] == shown


def test_a_preamble_is_void_once_the_answer_begins() -> None:
    """What stood before the one field's own marker was not the answer."""
    parts = read(ONE, "Sure, here it is:\n[[answer]]\n42", range(60))
    assert {"answer": "42"} == folded(parts)
    assert 1 == sum(part.anew for part in parts)


def test_an_ordinary_reply_is_never_begun_anew() -> None:
    """Sections in order show each letter once."""
    assert [] == [
        part for part in read(TWO, "[[reason]]\nx\n\n[[answer]]\ny", range(60)) if part.anew
    ]


def test_another_attempt_voids_what_was_shown() -> None:
    """A call that is asked again begins its fields anew."""
    source = ReplySource(TWO, ChatRequest(()), "step[0]/call[0]")
    now, _ = new_reader(source).feed("[[reason]]\nx ")
    begun, void = restart_reader(now, source)
    assert (new_reader(source), (Partial("step[0]", "reason", "", anew=True),)) == (begun, void)


@given(st.lists(st.text(min_size=1), max_size=5))
def test_chunks_are_borders(texts: list[str]) -> None:
    """The lengths of a reply's pieces cut it where it was cut."""
    assert texts == reply_pieces(ChatReply("".join(texts), chunks=tuple(map(len, texts))))


def test_a_reply_that_did_not_stream_is_one_piece() -> None:
    """Without borders, or with some that don't fit, the text is whole."""
    assert (["ab"], ["ab"]) == (
        reply_pieces(ChatReply("ab")),
        reply_pieces(ChatReply("ab", chunks=(1, 5))),
    )


def test_thinking_is_never_shown() -> None:
    """Nothing comes before its end, or before the end of a tag that may begin it."""
    reader, shown = new_reader(ReplySource(ONE, ChatRequest(()), "step[0]/call[0]")), []
    for piece in ["<thi", "nk>", "Lyon?", "</think>", "\nPar", "is"]:
        reader, parts = reader.feed(piece)
        shown.append("".join(part.text for part in parts))
    assert ["", "", "", "", "Par", "is"] == shown


def test_thinking_without_a_beginning_is_void_at_its_end() -> None:
    """What was shown before its end isn't the answer."""
    parts = read(ONE, "Lyon? No.\n</think>\n\nParis", range(60))
    assert {"answer": "Paris"} == folded(parts)
    assert 1 == sum(part.anew for part in parts)


JSON = ChatRequest((), schema=lf.Record(type="object"))


def read_json(text: str, cuts: Iterable[int] = ()) -> list[Partial]:
    """The parts of a JSON reply that comes in pieces."""
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    now = new_reader(ReplySource(TWO, JSON, "step[0]/call[0]"))
    found: list[Partial] = []
    for start, end in pairwise(borders):
        now, parts = now.feed(text[start:end])
        found += parts
    return [*found, *now.feed("", last=True)[1]]


@given(
    values=st.fixed_dictionaries(
        {"reason": st.text(), "answer": st.text()}, optional={"other": st.text()}
    ),
    cuts=st.lists(st.integers(0, 60), max_size=60),
    escaped=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_the_pieces_of_json_are_its_texts(
    values: dict[str, str],
    cuts: list[int],
    escaped: bool,  # noqa: FBT001 - drawn
    indent: int | None,
) -> None:
    """For any cut of a JSON reply, also within an escape, the pieces of each text put together are
    its value.
    """
    parts = read_json(json.dumps(values, ensure_ascii=escaped, indent=indent), cuts)
    expected = {name: values[name] for name in ("reason", "answer") if values[name]}
    assert (expected, []) == (folded(parts), [part for part in parts if part.anew])


JSON_PARTS = st.sampled_from([
    *("<think>", "</think>", '{"reason": "a", "answer": "b"}', '{"answer": "', '"}', "```json\n"),
    *("\n```", '{"data": {"reason": "x", "answer": "y"}}', "[", "]", "{", "}", ",", "\n", "a: b"),
])  # fmt: skip


@given(text=st.lists(JSON_PARTS, max_size=8).map("".join), cuts=st.lists(st.integers(0, 60)))
def test_the_pieces_are_the_whole_of_any_json(text: str, cuts: list[int]) -> None:
    """For any cut of a reply in JSON, the pieces of each text make up what the whole reply holds."""
    fields = folded(read_json(text, cuts))
    try:
        whole = read_outputs(TWO.signature, text, "json")
    except Unreadable:
        return
    assert {n: v for n, v in whole.items() if v} == {n: v for n, v in fields.items() if v}


def test_only_the_outermost_members_are_fields() -> None:
    """What is nested under the same name isn't the field; what is no text comes when it is whole."""
    text = '```json\n{"x": {"answer": "no"}, "reason": 12.5, "list": ["answer", "no"], "answer": "yes"}\n```'
    assert {"reason": "12.5", "answer": "yes"} == folded(read_json(text, range(200)))
