"""Strategies of messages and replies, as requests have them and models give them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

import lmflow as lf
from lmflow.messages.messages import Attached, Message, ToolCall
from lmflow.messages.replies import ChatReply

TEXTS = st.text(max_size=12)
ARGUMENTS = st.one_of(
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers()), max_size=2).map(json.dumps),
    st.sampled_from(['{"a": 1}', '{"a":1}', "[1]", "{broken", "", '{"a":1,"a":2}', "NaN", "1e400"]),
)
CALLS = st.lists(
    st.builds(ToolCall, TEXTS.filter(bool), ARGUMENTS, st.sampled_from(["call_0", "call_1"])),
    max_size=2,
).map(tuple)
MEDIA = [
    lf.Image(b"GIF89a...", "image/gif"),
    lf.Audio(b"abc", "audio/wav"),
    lf.File(b"x", "text/plain", name="n.txt"),
    lf.Image("https://example.com/a.png"),
]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message that a request may have."""
    role: Any = draw(st.sampled_from(["system", "user", "assistant", "tool"]))
    content = draw(TEXTS)
    if role == "tool":
        return Message("tool", content, answers=draw(st.sampled_from(["call_0", "call_1"])))
    calls = draw(CALLS) if role == "assistant" else ()
    places = draw(st.lists(st.integers(0, len(content)), max_size=2)) if role == "user" else []
    attached = tuple(Attached(at, draw(st.sampled_from(MEDIA))) for at in sorted(places))
    return Message(role, content, calls, attached=attached)


replies = st.builds(
    ChatReply,
    text=TEXTS,
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"]),
    reasoning=TEXTS,
    refusal=TEXTS,
    calls=CALLS,
)
