"""The laws of what a reply carries beside its text: reasoning and logprobs, apart unless an output
asks for them.
"""

import math
from pathlib import Path
from typing import Any

import pytest
from fakes import ask, chat, serving
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.cli.text.terminal import run_tree
from lmflow.errors import BadSignature, NoLogprobs
from lmflow.interpreter.predict import read_outputs
from lmflow.messages.replies import ChatReply, Token, Usage
from lmflow.models.providers.openai import OpenAI
from lmflow.signatures.fields import Confidence, Reasoning, metadata_kind
from lmflow.testing.models import Door

PLAIN = lf.predict("answer", "question -> answer", "Answer.")
THINK = lf.predict("answer", "question -> answer, thoughts: Reasoning", "Answer.")
SURE = lf.predict(
    "answer", "question -> answer, sure: Confidence", "Answer.", options={"logprobs": True}
)
IF_ANY = lf.predict("answer", "question -> answer, sure: Optional[Confidence]", "Answer.")


def _logprobs(*values: float) -> dict[str, Any]:
    return {"content": [{"token": f"t{n}", "logprob": value} for n, value in enumerate(values)]}


def _ran(program: lf.Program, *replies: ChatReply | str, **inputs: Any) -> lf.Trace:
    return lf.run(program, model=lf.scripted(list(replies)), **{"question": "2 * 3?", **inputs})


def _outputs(trace: lf.Trace) -> dict[str, Any]:
    assert trace.outputs is not None
    return dict(trace.outputs)


REPLY = ChatReply(
    "6", reasoning="2 * 3 is 6", logprobs=_logprobs(-0.1, -0.3), usage=Usage(9, 40, None, None, 38)
)


def test_reasoning_is_reached_by_the_address_of_its_call() -> None:
    """On the trace and on the reply; outputs and demonstrations have none of it."""
    trace = _ran(PLAIN, REPLY)
    assert ({"answer[0]/call[0]": "2 * 3 is 6"}, {"answer": "6"}) == (
        dict(trace.reasoning),
        _outputs(trace),
    )


def test_an_output_may_ask_for_the_reasoning() -> None:
    """It is filled from what the provider shows, and the model is asked for the rest alone."""
    trace = _ran(THINK, REPLY)
    assert {"answer": "6", "thoughts": "2 * 3 is 6"} == _outputs(trace)
    assert lf.render(PLAIN, {"question": "2 * 3?"}) == trace.calls[0].request.messages  # type: ignore[union-attr]
    assert trace.root == lf.replay(trace).root


@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_neither_form_nor_schema_asks_for_it(adapter: str) -> None:
    """Whatever the adapter."""
    step = lf.predict(
        "a", "question -> answer, n: int, why: Reasoning, p: Confidence", "Answer.", adapter=adapter
    )
    bare = lf.predict("a", "question -> answer, n: int", "Answer.", adapter=adapter)
    assert lf.render(bare, {"question": "?"}) == lf.render(step, {"question": "?"})
    shown = {"answer": "x", "n": 3}
    text = "[[answer]]\nx\n[[n]]\n3" if adapter == "chat" else '{"answer": "x", "n": 3}'
    trace = _ran(step, ChatReply(text, logprobs=_logprobs(0.0)), question="?")
    assert shown | {"why": "", "p": 1.0} == _outputs(trace)


def test_thinking_in_the_text_counts_as_reasoning() -> None:
    """Where the server leaves it there, in `<think>`."""
    trace = _ran(THINK, "<think>\nSix it is.\n</think>\n6")
    assert {"answer": "6", "thoughts": "Six it is."} == _outputs(trace)


@pytest.mark.parametrize(
    ("signature", "expected"), [("-> a, r: Reasoning", ""), ("-> a, r: Optional[Reasoning]", None)]
)
def test_without_reasoning_it_is_empty(signature: str, expected: str | None) -> None:
    """No other text is put in its place."""
    assert expected == _outputs(lf.run(lf.predict("a", signature), model=lf.scripted(["x"])))["r"]


def test_demonstrations_never_show_it() -> None:
    """Also where a recorded execution with reasoning becomes one; it is kept in the record."""
    demo = {"question": "1 + 1?", "answer": "2", "thoughts": "one and one"}
    step = lf.predict("answer", "question -> answer, thoughts: Reasoning", "Answer.", demos=[demo])
    bare = lf.predict(
        "answer", "question -> answer", "Answer.", demos=[{"question": "1 + 1?", "answer": "2"}]
    )
    assert lf.render(bare, {"question": "?"}) == lf.render(step, {"question": "?"})
    assert "one and one" == lf.init(step).params["answer.demos"][0].thoughts


def test_something_must_be_asked_for() -> None:
    """A step whose outputs all come beside the text would ask for nothing."""
    with pytest.raises(BadSignature, match="no output is left to ask for"):
        lf.predict("a", "question -> why: Reasoning")


def test_the_types_are_told_through_what_wraps_them() -> None:
    """Optional and Annotated; a union with more is none of them."""
    kinds = Reasoning, Confidence | None, str, float, Reasoning | int
    assert [Reasoning, Confidence, None, None, None] == [metadata_kind(kind) for kind in kinds]


async def test_reasoning_is_read_recorded_and_shown(tmp_path: Path) -> None:
    """From the wire to the store to `runs show --messages`, with its tokens."""
    message = {"role": "assistant", "content": "6", "reasoning_content": "2 * 3\nis 6"}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 38},
    }
    body = chat(choices=[{"message": message, "finish_reason": "stop"}], usage=usage)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with (
            serving(body) as server,
            lf.Executor(OpenAI("openai/m", "m", server.url, "local"), store) as ex,
        ):
            trace = await ex.run(PLAIN, question="?")
        shown = run_tree(store.run(store.runs()[0].id), messages=True)
        assert trace.reasoning == store.trace(trace.id).reasoning
    lines = [line.lstrip("│ ") for line in shown.splitlines()]
    assert "9 + 40 (38 reasoning) tokens" in shown
    assert ["~ 2 * 3", "~ is 6", "< 6"] == [line for line in lines if line[:1] in {"~", "<"}]


def test_logprobs_are_tokens() -> None:
    """Text, log probability and the likeliest in its place, in the form that OpenAI and llama.cpp
    give.
    """
    row = {
        "token": "6",
        "logprob": -0.1,
        "top_logprobs": [{"token": "6", "logprob": -0.1}, {"token": "5", "logprob": -3}],
    }
    reply = ChatReply("6", logprobs={"content": [row]})
    assert (Token("6", -0.1, (("6", -0.1), ("5", -3.0))),) == reply.tokens


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": []}, [1], {"tokens": ["a"]}]
)
def test_without_logprobs_there_are_no_tokens(logprobs: Any) -> None:
    """Nothing is made up, whatever else the endpoint sent."""
    assert ((), None) == ((reply := ChatReply("6", logprobs=logprobs)).tokens, reply.confidence)


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=9))
def test_confidence_is_the_geometric_mean(values: list[float]) -> None:
    """Of the tokens' probabilities; from 0 to 1."""
    found = ChatReply("x", logprobs=_logprobs(*values)).confidence
    assert found is not None
    assert 0 <= found <= 1
    assert math.isclose(math.exp(sum(values) / len(values)), found, abs_tol=1e-8)


def test_an_output_may_ask_for_the_confidence() -> None:
    """It is what the logprobs say."""
    trace = _ran(SURE, REPLY)
    assert {"answer": "6", "sure": round(math.exp(-0.2), 9)} == _outputs(trace)
    assert trace.root == lf.replay(trace).root


def test_without_logprobs_a_confidence_fails() -> None:
    """With the option that asks for them; it replays as that failure."""
    with pytest.raises(NoLogprobs, match="logprobs"):
        _ran(SURE, "6")


def test_where_it_may_be_left_out_it_is_null() -> None:
    """Never required of who says that it may be missing."""
    assert {"answer": "6", "sure": None} == _outputs(_ran(IF_ANY, "6"))


def test_a_text_alone_has_no_confidence() -> None:
    """`parse` reads what a text holds."""
    assert {"answer": "6", "sure": None} == dict(read_outputs(SURE.signature, "6"))


def test_a_vote_is_weighted_by_confidence() -> None:
    """One sure sample outweighs two that guess."""
    vote = lf.self_consistency(SURE, n=3, key="answer", weight="sure")
    replies = [
        ChatReply(text, logprobs=_logprobs(p))
        for text, p in (("5", -3.0), ("6", -0.1), ("5", -3.0))
    ]
    assert "6" == _outputs(_ran(vote, *replies))["answer"]


@pytest.mark.parametrize("lacking", [(0, 1, 2), (1,)])
def test_a_weighted_vote_without_logprobs_fails(lacking: tuple[int, ...]) -> None:
    """Also where one sample alone lacks them: it is neither dropped nor given another weight."""
    vote = lf.self_consistency(SURE, n=3, key="answer", weight="sure")
    replies = [ChatReply("6", logprobs=None if n in lacking else _logprobs(-0.1)) for n in range(3)]
    with pytest.raises(NoLogprobs):
        _ran(vote, *replies)


async def test_logprobs_come_from_the_wire() -> None:
    """As the endpoint gives them, typed."""
    logprobs = {"content": [{"token": "fine", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    choice = {
        "message": {"role": "assistant", "content": "fine"},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    async with serving(chat(choices=[choice])) as server:
        reply = await OpenAI("openai/m", "m", server.url, "local")(ask(), Door())
    assert isinstance(reply, ChatReply)
    assert (Token("fine", -0.5),) == reply.tokens


async def test_a_redacted_run_keeps_the_numbers(tmp_path: Path) -> None:
    """Tokens would spell out the text; their probabilities don't, so a confidence replays."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(
            lf.scripted([REPLY]), store, redact=lambda text: text.replace("6", "#")
        ) as ex:
            whole = await ex.run(SURE, question="2 * 3?")
        trace = store.trace(whole.id)
    reply = trace.calls[0].outcome
    assert isinstance(reply, ChatReply)
    assert ("#", ["", ""], "2 * 3 is #") == (
        reply.text,
        [token.text for token in reply.tokens],
        reply.reasoning,
    )
    assert lf.replay(trace, SURE).done
