"""The laws of streamed calls: parts of one call are one call, and calls that look alike stay two."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.messages.messages import ToolCall
from lmflow.models.providers.openai_chat import chat_reply
from lmflow.models.providers.openai_stream import ChunkAccumulator


def _part(arguments: Any = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {**more, "function": {"name": name, "arguments": arguments}}


def _calls(*parts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in _reply(*parts)]


def _reply(*parts: dict[str, Any], **delta: Any) -> tuple[ToolCall, ...]:
    chunks = ChunkAccumulator()
    for part in parts:
        chunks.add({"choices": [{"delta": {"tool_calls": [part]}}]})
    chunks.add({"choices": [{"delta": delta, "finish_reason": "tool_calls"}]})
    return chat_reply(chunks.body()).calls


PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'
ONE, TWO = ("weather", PARIS), ("weather", ROME)


@pytest.mark.parametrize(
    "parts",
    [
        # OpenAI: name and id once, then pieces of the arguments
        [_part("", "weather", index=0, id="a"), _part(PARIS[:5], index=0), _part(PARIS[5:], index=0)],
        # the id and the whole name with each piece
        [_part(PARIS[:5], "weather", index=0, id="a"), _part(PARIS[5:], "weather", index=0, id="a")],
        # the name in pieces, or as much of it as has come by now
        [_part("", "wea", index=0, id="a"), _part("", "ther", index=0), _part(PARIS, index=0)],
        [_part("", "wea", index=0), _part("", "weather", index=0), _part(PARIS, index=0)],
        # no index: the id, or its place, tells
        [_part(PARIS[:5], "weather", id="a"), _part(PARIS[5:])],
        [_part(PARIS[:5], "weather", id="a"), _part(PARIS[5:], "weather", id="a")],
        # an id of its own for each piece
        [_part(PARIS[:5], "weather", index=0, id="a"), _part(PARIS[5:], "weather", index=0, id="b")],
        # the whole call again at the end
        [_part(PARIS, "weather", index=0, id="a"), _part(PARIS, "weather", index=0, id="a")],
        [_part(PARIS, "weather", index=0, id="a"), _part("", "weather", index=0, id="a")],
        [_part(PARIS, "weather", index=0), _part("", None, index=0)],
    ],
)  # fmt: skip
def test_parts_of_one_call_are_one_call(parts: list[dict[str, Any]]) -> None:
    """However a server cuts a call, and whatever it repeats, the call is one."""
    assert [ONE] == _calls(*parts)


@pytest.mark.parametrize(
    "parts",
    [
        # one index for all calls, told by their ids, or by a name after whole arguments
        [_part(PARIS, "weather", index=0, id="a"), _part(ROME, "weather", index=0, id="b")],
        [_part(PARIS, "weather", index=0), _part(ROME, "weather", index=0)],
        # one id for all calls, told by their index
        [_part(PARIS, "weather", index=0, id="a"), _part(ROME, "weather", index=1, id="a")],
        # neither index nor id
        [_part(PARIS, "weather"), _part(ROME, "weather")],
        [_part(PARIS, "weather", id="a"), _part(ROME, "weather", id="b")],
        # one id and no index: a name after whole arguments
        [_part(PARIS, "weather", id="a"), _part(ROME, "weather", id="a")],
        # pieces side by side
        [
            _part(PARIS[:5], "weather", index=0, id="a"),
            _part(ROME[:5], "weather", index=1, id="b"),
            _part(PARIS[5:], index=0),
            _part(ROME[5:], index=1),
        ],
    ],
)
def test_two_calls_stay_two(parts: list[dict[str, Any]]) -> None:
    """Calls that share an index, an id or a name are not merged."""
    assert [ONE, TWO] == _calls(*parts)


ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=6), max_size=3)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "weather", "w"]), ARGUMENTS), max_size=4),
    st.sampled_from(["index", "id", "both"]),
    st.booleans(),
    st.data(),
)
def test_calls_in_any_pieces_are_the_calls(
    wanted: list[tuple[str, dict[str, Any]]],
    told_by: str,
    repeated: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    """Calls cut anywhere, with the name once or with each piece, are the calls that were sent."""
    parts: list[dict[str, Any]] = []
    for n, (name, arguments) in enumerate(wanted):
        text = json.dumps(arguments)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        marks: dict[str, Any] = {} if told_by == "id" else {"index": n}
        for k, piece in enumerate(pieces):
            first = k == 0 or repeated
            own = {"id": f"c{n}"} if told_by != "index" and first else {}
            parts.append(_part(piece, name if first else None, **marks, **own))
    assert [(name, json.dumps(arguments)) for name, arguments in wanted] == _calls(*parts)


def test_the_old_form_of_a_call_is_read() -> None:
    """``function_call``, the form before tools, is a call too, streamed or whole."""
    call = {"name": "weather", "arguments": PARIS}
    whole = {"choices": [{"message": {"function_call": call}, "finish_reason": "function_call"}]}
    chunks = ChunkAccumulator()
    for part in ({"name": "weather", "arguments": PARIS[:4]}, {"arguments": PARIS[4:]}):
        chunks.add({"choices": [{"delta": {"function_call": part}}]})
    chunks.add({"choices": [{"delta": {}, "finish_reason": "function_call"}]})
    expected = (ToolCall("weather", PARIS),)
    assert expected == chat_reply(whole).calls == chat_reply(chunks.body()).calls


@pytest.mark.parametrize("finish", ["length", "tool_calls", "stop", "MAX_TOKENS"])
def test_a_call_that_was_cut_ends_at_the_length(finish: str) -> None:
    """Whatever a router says of the end, half a call shows that the reply was cut."""
    calls = [{"function": {"name": "sql", "arguments": '{"statement": "DELETE FROM t WHERE'}}]
    choice = {"message": {"tool_calls": calls}, "finish_reason": finish}
    assert "length" == chat_reply({"choices": [choice]}).finish
