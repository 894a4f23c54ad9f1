"""The laws of retrying: what is asked again, how often, and that every attempt is on record."""

import time

import pytest
from fakes import Reply, chat, refused, serving

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages import ChatReply, Failure
from lmflow.models.openai import OpenAI
from lmflow.models.scripted import Answer
from lmflow.models.wrap import PASSING

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


async def _mapped(*answers: Answer, attempts: int = 3, store: lf.MemoryStore | None = None) -> lf.Trace:
    model = lf.retrying(lf.scripted(answers), attempts=attempts, longest=0.01)
    async with lf.Executor(model, store) as ex:
        return (await ex.map(ANSWER, [{"question": "why?"}])).traces[0]


def _failed(kind: str) -> ModelFailed:
    return ModelFailed(kind, f"it is {kind}")


@pytest.mark.parametrize("kind", sorted(PASSING))
async def test_what_may_pass_is_asked_again(kind: str) -> None:
    """After a failure that may pass, the next attempt's reply counts."""
    trace = await _mapped(_failed(kind), "fine")
    assert lf.Record(answer="fine") == trace.outputs


@pytest.mark.parametrize("kind", ["auth", "unknown_model", "request", "bad_reply"])
async def test_what_will_not_pass_is_asked_once(kind: str) -> None:
    """A failure that stays is not tried again."""
    assert 1 == len((await _mapped(_failed(kind), "fine")).calls)


async def test_every_attempt_is_on_record() -> None:
    """All attempts stand at one address, counted from 0, each with what came of it."""
    trace = await _mapped(_failed("server"), _failed("rate_limit"), "fine")
    rows = [(call.address, call.attempt, type(call.outcome)) for call in trace.calls]
    at = "answer[0]/call[0]"
    assert [(at, 0, Failure), (at, 1, Failure), (at, 2, ChatReply)] == rows


async def test_all_attempts_share_a_key() -> None:
    """An attempt is no other request."""
    assert 1 == len({call.key for call in (await _mapped(_failed("server"), "fine")).calls})


async def test_the_last_failure_is_raised() -> None:
    """After the set attempts the last failure stands."""
    trace = await _mapped(_failed("server"), _failed("server"), _failed("timeout"), "fine")
    assert (3, "it is timeout") == (len(trace.calls), trace.failure and trace.failure.text)


@pytest.mark.parametrize("answers", [(_failed("server"), "fine"), (_failed("server"),) * 3])
async def test_attempts_replay(answers: tuple[Answer, ...]) -> None:
    """A recording with failed attempts replays to its root, whether it ended well or not."""
    trace = await _mapped(*answers)
    assert trace.root == lf.replay(trace).root


async def test_failed_attempts_are_not_in_the_root() -> None:
    """Only the attempt that counts is in the root: a retried run equals one that went well at once."""
    assert (await _mapped("fine")).root == (await _mapped(_failed("server"), "fine")).root


async def test_the_store_keeps_every_attempt() -> None:
    """What is read back has every attempt."""
    store = lf.MemoryStore()
    trace = await _mapped(_failed("server"), "fine", store=store)
    assert [0, 1] == [call.attempt for call in store.trace(trace.id).calls]


async def test_a_server_error_is_retried_over_http() -> None:
    """500, then 200: the reply is used, two requests were sent."""
    async with serving(refused(500), chat("fine")) as server:
        model = lf.retrying(OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=3, longest=0.01)
        async with lf.Executor(model) as ex:
            trace = await ex.run(ANSWER, question="why?")
    assert (2, "fine") == (len(server.seen), trace.outputs and trace.outputs.answer)


@pytest.mark.parametrize(("reply", "sent"), [(refused(500), 3), (refused(400), 1), (Reply(close=True), 3)])
async def test_the_set_attempts_are_sent(reply: Reply, sent: int) -> None:
    """As many requests are sent as there are attempts; a mistake of the request is sent once."""
    async with serving(reply) as server:
        model = lf.retrying(OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=3, longest=0.01)
        async with lf.Executor(model) as ex:
            trace = (await ex.map(ANSWER, [{"question": "why?"}])).traces[0]
    assert (sent, sent) == (len(trace.calls), len(server.seen))


async def test_retry_after_is_heeded() -> None:
    """The server's wish is waited for."""
    async with serving(refused(429, retry_after="0.5"), chat("fine")) as server:
        model = lf.retrying(OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.5)
        async with lf.Executor(model) as ex:
            begun = time.monotonic()
            await ex.run(ANSWER, question="why?")
    assert 0.45 <= time.monotonic() - begun


async def test_retry_after_is_bounded() -> None:
    """A server that asks for an hour is asked again after the longest wait."""
    async with serving(refused(429, retry_after="3600"), chat("fine")) as server:
        model = lf.retrying(OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.01)
        async with lf.Executor(model) as ex:
            begun = time.monotonic()
            await ex.run(ANSWER, question="why?")
    assert 5 > time.monotonic() - begun


@pytest.mark.parametrize("wish", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon", "", "nan", "inf"])
async def test_an_odd_retry_after_is_none(wish: str) -> None:
    """A wish that is no number of seconds is left aside."""
    async with serving(refused(429, retry_after=wish), chat("fine")) as server:
        model = lf.retrying(OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.01)
        async with lf.Executor(model) as ex:
            trace = await ex.run(ANSWER, question="why?")
    assert [0, 1] == [call.attempt for call in trace.calls]


def test_a_retrying_model_is_the_model() -> None:
    """Name and endpoint are those of the model: retrying changes no key."""
    model = lf.scripted(["x"], name="scripted/other")
    assert ("scripted/other", "scripted") == (lf.retrying(model).name, lf.retrying(model).endpoint)
