"""The laws of content: it fits the conventions' own schemas, and is read back as it was."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from chats import messages, replies
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.telemetry.content import (
    message_json,
    message_parts,
    read_messages,
    read_reply,
    reply_json,
)

SCHEMAS = ROOT / "tests" / "fixtures" / "semconv"


def schema(name: str) -> Any:
    """A schema of the conventions."""
    return json.loads((SCHEMAS / f"gen-ai-{name}.json").read_text("utf-8"))


INPUT = jsonschema.Draft202012Validator(schema("input-messages"))
OUTPUT = jsonschema.Draft202012Validator(schema("output-messages"))
SYSTEM = jsonschema.Draft202012Validator(schema("system-instructions"))


@given(st.lists(messages(), max_size=3))
def test_messages_fit_and_come_back(sent: list[Message]) -> None:
    """Messages fit the schema of input messages, and are read back as they were."""
    values = json.loads(json.dumps(list(map(message_json, sent))))
    INPUT.validate(values)
    assert (tuple(sent), "") == (read_messages(values).messages, read_messages(values).problem)


@given(messages())
def test_instructions_fit(message: Message) -> None:
    """The parts of a system's message fit the schema of system instructions."""
    SYSTEM.validate(message_parts(Message("system", message.content)))


@given(replies)
def test_replies_fit_and_come_back(reply: ChatReply) -> None:
    """Replies fit the schema of output messages, and are read back as they were."""
    value = json.loads(json.dumps(reply_json(reply)))
    OUTPUT.validate([value])
    assert reply == read_reply(value)


@pytest.mark.parametrize(
    "odd",
    [
        None, 3, {}, "text", [3], [None], [{}], [{"role": "user"}], [{"role": "user", "parts": 3}],
        [{"role": "user", "parts": [3]}], [{"role": "nobody", "parts": []}],
        [{"role": "user", "parts": [{"type": "blob", "content": "?", "modality": "image"}]}],
        [{"role": "user", "parts": [{"type": "file", "file_id": "../etc", "modality": "image"}]}],
        [{"role": "user", "parts": [{"type": "uri", "uri": "https://me:pw@host/"}]}],
        [{"role": "assistant", "parts": [{"type": "tool_call"}]}],
        [{"role": "user", "parts": [{"type": "hologram"}]}],
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(odd: Any) -> None:
    """Nothing is made up for content in another form: there is a problem in words."""
    assert read_messages(odd).problem
