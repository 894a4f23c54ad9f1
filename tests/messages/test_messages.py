"""Requests have keys that never change, whichever way they are found."""

import copy

from hypothesis import given
from hypothesis import strategies as st
from reference_forms import reference_key, reference_root
from strategies import json_values, records

from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, Failure, Outcome, ToolReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.traces.redaction import agrees
from lmflow.traces.trace import CallAttempt, Failed, root_of
from lmflow.values.attributes import lean
from lmflow.values.record import EMPTY, Record, canonical

PLAIN = ChatRequest((Message("user", "Hi"),))
FULL = ChatRequest(
    (
        Message("system", "Be brief."),
        Message("user", 'Gr\u00fc\u00dfe, "x"\n'),
        Message("assistant", "", (ToolCall("f", '{"a":1}'),)),
        Message("tool", "1", answers="call_0"),
    ),
    model="openai/m",
    endpoint="openai",
    options={"temperature": 0.5, "max_tokens": 7},
    tools=(Record(name="f"),),
    schema=Record(type="object"),
    sample=2,
)
TOOL, EMBED = ToolRequest("t", "id", Record(x=1)), EmbedRequest(("a",), "m")
CALLS = (
    CallAttempt("a[0]/call[0]", PLAIN, PLAIN.key, 0, ChatReply("Hello", "stop")),
    CallAttempt("a[0]/call[1]", TOOL, TOOL.key, 0, ToolReply({"a": [1, 1.0, True, None]})),
    CallAttempt(
        "a[0]/call[2]", FULL, FULL.key, 0, Failure("ModelFailed", Record(kind="timeout", text="x"))
    ),
)
messages = st.builds(Message, st.sampled_from(["system", "user"]), st.text())
tool_calls = st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=2).map(tuple)
turns = messages | st.builds(Message, st.just("assistant"), st.text(), tool_calls, st.text())
requests = st.builds(
    ChatRequest,
    st.lists(turns, max_size=3).map(tuple),
    st.text(),
    st.text(),
    options=records,
    tools=st.lists(records, max_size=2).map(tuple),
    schema=st.none() | records,
    sample=st.integers(0, 3),
)
addresses = st.text().map(lambda text: text.replace("/", "!"))
outcomes = (
    st.builds(ChatReply, st.text(), st.text(), calls=tool_calls, refusal=st.text())
    | st.builds(ChatReply, st.text())
    | st.builds(ToolReply, json_values)
    | st.builds(Failure, st.text(), records)
)


def test_keys_are_stable() -> None:
    """The keys of one request a kind, on every platform and in every version."""
    assert "v1:b2:4d9f89227921ce2c8b78816d12a14ad7a4fe0cae5d3aef8dedd87ff9568213e3" == PLAIN.key
    assert "v1:b2:a624eb5b997b8f704c2801b392f1b60a978d639963e24b7dad7d7c04443242e4" == FULL.key
    assert "v1:b2:9297bf15307b4e16bed0ffbcf79c6b7ce0846c7d1912f31c9dfc1b8c6e9f49b8" == TOOL.key
    assert "v1:b2:eee9c0fd1c5c911ba9342f6e123353647aa1ef1958287ff381af7a9a9aad331e" == EMBED.key


def test_roots_are_stable() -> None:
    """The roots of an execution that succeeded and of one that failed, with a branch that lost."""
    hello = root_of(CALLS, EMPTY, Record(answer="Hello"), None)
    assert "v1:b2:ede39a22a89c4ab0013ef6fcf899eec5696f8e0a22dd4fdff2fef943d108f949" == hello
    failed = root_of(CALLS, {"a[0]": 1}, None, Failed("X", "y"))
    assert "v1:b2:c255203c755bf537adc8c6676d26dc76fb9cb214b30d78f52a33bfd99763c261" == failed


@given(messages)
def test_a_form_is_the_canonical_form(message: Message) -> None:
    """The quick way writes what the long way does."""
    assert canonical(lean(message)) == message.form


@given(requests)
def test_a_key_is_the_digest_of_the_fields(request: ChatRequest) -> None:
    """The key of a request, which is written field by field, is the digest of its fields."""
    assert reference_key(request) == request.key == copy.copy(request).key


@given(
    st.lists(st.tuples(addresses, st.text(), outcomes), max_size=4),
    records,
    st.none() | records,
    st.none() | st.builds(Failed, st.text(), st.text()),
)
def test_a_root_is_the_digest_of_the_calls_and_the_result(
    told: list[tuple[str, str, Outcome]],
    choices: Record,
    outputs: Record | None,
    failure: Failed | None,
) -> None:
    """The root of an execution, which is written part by part, is the digest of all parts."""
    calls = [CallAttempt(at, PLAIN, key, 0, outcome) for at, key, outcome in told]
    expected = reference_root(calls, choices, outputs, failure)
    assert expected == root_of(calls, choices, outputs, failure)


@given(st.lists(messages, max_size=3), st.lists(messages, max_size=3))
def test_equal_requests_have_equal_keys(a: list[Message], b: list[Message]) -> None:
    """A recorded call agrees with a request exactly where the keys do."""
    recorded, asked = ChatRequest(tuple(a)), ChatRequest(tuple(b))
    assert (recorded.key == asked.key) == agrees(CallAttempt("x", recorded, recorded.key), asked)


def test_to_changes_only_where_it_is_asked() -> None:
    """``to`` names model and endpoint, and keeps the rest."""
    assert FULL == FULL.to("a/b", "c").to(FULL.model, FULL.endpoint)
    assert ("a/b", "c") == (EMBED.to("a/b", "c").model, EMBED.to("a/b", "c").endpoint)
