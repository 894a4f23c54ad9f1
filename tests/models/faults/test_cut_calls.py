"""The laws of tool calls that were cut or broken: no such call runs, the model is told why, and the
agent goes on.
"""

import json
from typing import Any

import pytest
from fakes import Reply, chat, serving, stream

import lmflow as lf

WHOLE, HALF = '{"statement": "SELECT 1"}', '{"statement": "DELETE FROM t WHERE a = 1 AN'
BROKEN = '{"statement": SELECT 1}'


def _completion(finish: str, *arguments: str) -> Reply:
    calls = [{"function": {"name": "sql", "arguments": text}} for text in arguments]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return chat(choices=[{"message": message, "finish_reason": finish}])


def _chunks(finish: str, *arguments: str) -> Reply:
    parts = [
        {"index": n, "id": f"c{n}", "function": {"name": "sql", "arguments": text}}
        for n, text in enumerate(arguments)
    ]
    deltas = [{"choices": [{"delta": {"tool_calls": [part]}}]} for part in parts]
    return stream(*deltas, {"choices": [{"delta": {}, "finish_reason": finish}]})


def _events(stop: str, *arguments: str) -> Reply:
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {}}]
    for n, text in enumerate(arguments):
        block = {"type": "tool_use", "id": f"t{n}", "name": "sql", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": text}
        events.append({"type": "content_block_start", "index": n, "content_block": block})
        events.append({"type": "content_block_delta", "index": n, "delta": delta})
    return stream(*events, {"type": "message_delta", "delta": {"stop_reason": stop}}, done=False)


def _message(stop: str, *arguments: str) -> Reply:
    """A whole message; the API itself ends a cut input before the part that is missing."""
    blocks = [
        {"type": "tool_use", "id": "t", "name": "sql", "input": {"statement": text}}
        for text in arguments
    ]
    return Reply(body=json.dumps({"content": blocks, "stop_reason": stop}))


SAID_STREAMED = stream(
    {"choices": [{"delta": {"content": "done"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}
)  # fmt: skip
SAID_EVENTS = stream(
    {"type": "message_start", "message": {}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "done"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    done=False,
)
SAID = Reply(body=json.dumps({"content": [{"type": "text", "text": "done"}], "stop_reason": "end"}))


async def _ran(provider: str, *replies: Reply) -> tuple[list[str], lf.Trace, list[Any]]:
    """The statements that were run, the trace, and the bodies that were sent."""
    statements: list[str] = []

    @lf.tool(version="1")
    def sql(statement: str) -> str:
        """Run a statement."""
        statements.append(statement)
        return "ok"

    agent = lf.react("question -> answer", [sql], "Help.", max_steps=3)
    async with (
        serving(*replies) as server,
        lf.Executor(lf.model(f"{provider}/m", base_url=server.url)) as ex,
    ):
        if replies[0].parts:
            async with ex.stream(agent, question="x") as parts:
                async for _ in parts:
                    pass
            trace = parts.trace
        else:
            trace = await ex.run(agent, question="x")
    return statements, trace, [seen.body for seen in server.seen]


CUT: list[tuple[str, Reply, Reply]] = [
    *(
        ("openai", make(finish, *arguments), said)
        for make, said in ((_completion, chat("done")), (_chunks, SAID_STREAMED))
        for finish, arguments in (
            ("length", [HALF]),
            ("length", [WHOLE]),
            ("MAX_TOKENS", [WHOLE]),
            ("model_length", [WHOLE, HALF]),
            ("tool_calls", [HALF]),
            ("stop", [WHOLE, HALF]),
        )
    ),
    *(
        ("anthropic", _events(stop, *arguments), SAID_EVENTS)
        for stop, arguments in (
            ("max_tokens", [HALF]),
            ("max_tokens", [WHOLE]),
            ("tool_use", [WHOLE, HALF]),
        )
    ),
    ("anthropic", _message("max_tokens", "SELECT"), SAID),
    ("anthropic", _message("model_context_window_exceeded", "SELECT"), SAID),
]


@pytest.mark.parametrize(("provider", "cut", "said"), CUT)
async def test_no_call_of_a_cut_reply_runs(provider: str, cut: Reply, said: Reply) -> None:
    """Whole calls beside the cut one don't run either; the next request says why, and it goes on."""
    statements, trace, bodies = await _ran(provider, cut, said)
    assert trace.outputs is not None
    assert ([], "done") == (statements, trace.outputs.answer)
    assert "cut off at the token limit" in json.dumps(bodies[1]["messages"][-1])


@pytest.mark.parametrize(
    ("provider", "broken", "said"),
    [
        ("openai", _completion("tool_calls", BROKEN), chat("done")),
        ("openai", _chunks("tool_calls", BROKEN), SAID_STREAMED),
        ("anthropic", _events("tool_use", BROKEN), SAID_EVENTS),
    ],
)
async def test_a_broken_call_is_told_and_not_mended(
    provider: str, broken: Reply, said: Reply
) -> None:
    """Arguments that aren't JSON are an observation, of which the model is told."""
    statements, trace, _ = await _ran(provider, broken, said)
    assert trace.outputs is not None
    observation = trace.outputs.trajectory[0].observations[0]
    assert ([], "bad_arguments", "done") == (statements, observation.kind, trace.outputs.answer)


@pytest.mark.parametrize(
    ("provider", "whole", "said"),
    [
        ("openai", _completion("tool_calls", WHOLE), chat("done")),
        ("openai", _chunks("tool_calls", WHOLE), SAID_STREAMED),
        ("anthropic", _events("tool_use", WHOLE), SAID_EVENTS),
        ("anthropic", _message("tool_use", "SELECT 1"), SAID),
    ],
)
async def test_a_whole_call_runs_once(provider: str, whole: Reply, said: Reply) -> None:
    """What was meant is run, whatever the provider, streamed or not."""
    statements, _, _ = await _ran(provider, whole, said)
    assert ["SELECT 1"] == statements
