"""The laws of models around models: what is asked again or elsewhere, and that every attempt is on
record.
"""

import time

import attrs
import pytest
from fakes import Reply, ask, chat, refused, serving

import lmflow as lf
from lmflow.errors import FailureKind, ModelFailed, ReplayDiverged
from lmflow.messages.replies import ChatReply, Failure
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Model
from lmflow.models.providers.openai import OpenAI
from lmflow.models.retries import TRANSIENT
from lmflow.models.scripted import ScriptedAnswer
from lmflow.testing.models import Door

ANSWER = lf.predict("answer", "question -> answer", "ScriptedAnswer.")


async def _mapped(
    *answers: ScriptedAnswer, attempts: int = 3, store: lf.MemoryStore | None = None
) -> lf.Trace:
    model = lf.retrying(lf.scripted(answers), attempts=attempts, longest=0.01)
    async with lf.Executor(model, store) as ex:
        return (await ex.map(ANSWER, [{"question": "why?"}])).traces[0]


def _failed(kind: FailureKind) -> ModelFailed:
    return ModelFailed(kind, f"it is {kind}")


@pytest.mark.parametrize("kind", sorted(TRANSIENT))
async def test_what_may_pass_is_asked_again(kind: FailureKind) -> None:
    """After a failure that may pass, the next attempt's reply counts."""
    trace = await _mapped(_failed(kind), "fine")
    assert lf.Record(answer="fine") == trace.outputs


@pytest.mark.parametrize("kind", ["auth", "unknown_model", "request", "bad_reply"])
async def test_what_will_not_pass_is_asked_once(kind: FailureKind) -> None:
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
async def test_attempts_replay(answers: tuple[ScriptedAnswer, ...]) -> None:
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
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=3, longest=0.01
        )
        async with lf.Executor(model) as ex:
            trace = await ex.run(ANSWER, question="why?")
    assert (2, "fine") == (len(server.seen), trace.outputs and trace.outputs.answer)


@pytest.mark.parametrize(
    ("reply", "sent"), [(refused(500), 3), (refused(400), 1), (Reply(close=True), 3)]
)
async def test_the_set_attempts_are_sent(reply: Reply, sent: int) -> None:
    """As many requests are sent as there are attempts; a mistake of the request is sent once."""
    async with serving(reply) as server:
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=3, longest=0.01
        )
        async with lf.Executor(model) as ex:
            trace = (await ex.map(ANSWER, [{"question": "why?"}])).traces[0]
    assert (sent, sent) == (len(trace.calls), len(server.seen))


async def test_retry_after_is_heeded() -> None:
    """The server's wish is waited for."""
    async with serving(refused(429, retry_after="0.5"), chat("fine")) as server:
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.5
        )
        async with lf.Executor(model) as ex:
            begun = time.monotonic()
            await ex.run(ANSWER, question="why?")
    assert 0.45 <= time.monotonic() - begun


async def test_retry_after_is_bounded() -> None:
    """A server that asks for an hour is asked again after the longest wait."""
    async with serving(refused(429, retry_after="3600"), chat("fine")) as server:
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.01
        )
        async with lf.Executor(model) as ex:
            begun = time.monotonic()
            await ex.run(ANSWER, question="why?")
    assert 5 > time.monotonic() - begun


@pytest.mark.parametrize("wish", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon", "", "nan", "inf"])
async def test_an_odd_retry_after_is_none(wish: str) -> None:
    """A wish that is no number of seconds is left aside."""
    async with serving(refused(429, retry_after=wish), chat("fine")) as server:
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "127.0.0.1"), attempts=2, longest=0.01
        )
        async with lf.Executor(model) as ex:
            trace = await ex.run(ANSWER, question="why?")
    assert [0, 1] == [call.attempt for call in trace.calls]


def test_a_retrying_model_is_the_model() -> None:
    """Name and endpoint are those of the model: retrying changes no key."""
    model = lf.scripted(["x"], name="scripted/other")
    assert ("scripted/other", "scripted") == (lf.retrying(model).name, lf.retrying(model).endpoint)


async def test_kinds_may_have_attempts_of_their_own() -> None:
    """A policy overrules the number of attempts for single kinds, up or down, also for one that
    else is asked once.
    """
    policy = {"timeout": 1, "bad_reply": 2}
    kinds: list[tuple[FailureKind, int]] = [
        ("timeout", 1),
        ("bad_reply", 2),
        ("server", 3),
        ("auth", 1),
    ]
    for kind, sent in kinds:
        model = lf.retrying(lf.scripted([_failed(kind)] * 9), attempts=3, longest=0, policy=policy)
        door = Door()
        with pytest.raises(ModelFailed):
            await model(ask(), door)
        assert sent == len(door.attempts), kind


def _one(*answers: ScriptedAnswer) -> Model:
    return lf.scripted(answers, name="scripted/one")


def _two(*answers: ScriptedAnswer) -> Model:
    return lf.scripted(answers, name="scripted/two")


async def _traced(model: Model, program: lf.Program = ANSWER) -> lf.Trace:
    async with lf.Executor(model) as ex:
        return (await ex.map(program, [{"question": "why?"}])).traces[0]


async def test_a_fallback_asks_the_next_where_one_failed() -> None:
    """Every attempt is recorded under the model that was asked, with the key of a request to it
    alone.
    """
    trace = await _traced(lf.fallback(_one(_failed("server")), _two("fine")))
    assert ["scripted/one", "scripted/two"] == [call.request.model for call in trace.calls]  # type: ignore[union-attr]
    assert (await _traced(_two("fine"))).calls[0].key == trace.calls[1].key


@pytest.mark.parametrize("answers", [("fine",), (_failed("server"),)])
async def test_what_a_fallback_did_replays(answers: tuple[ScriptedAnswer, ...]) -> None:
    """A replay takes the model that answered, whether it went well or not."""
    trace = await _traced(lf.fallback(_one(_failed("server")), _two(*answers)))
    assert trace.root == lf.replay(trace).root


async def test_a_recording_of_another_model_is_no_member_s() -> None:
    """A replay accepts only models that the fallback had."""
    trace = await _traced(lf.fallback(_one("fine"), _two("fine")))
    asked = trace.calls[0].request
    assert isinstance(asked, ChatRequest)
    other = attrs.evolve(asked, model="scripted/three")
    call = attrs.evolve(trace.calls[0], request=other, key=other.key)
    with pytest.raises(ReplayDiverged):
        lf.replay(attrs.evolve(trace, calls=(call,)))


@pytest.mark.parametrize(
    ("kind", "sent"), [("server", 2), ("quota", 2), ("bad_reply", 2), ("request", 1)]
)
async def test_a_mistake_in_the_request_stays_one(kind: FailureKind, sent: int) -> None:
    """By default everything but a mistake in the request is asked elsewhere."""
    assert sent == len((await _traced(lf.fallback(_one(_failed(kind)), _two("fine")))).calls)


async def test_a_fallback_may_be_told_for_what() -> None:
    """`on` names the kinds."""
    model = lf.fallback(_one(_failed("server")), _two("fine"), on={"rate_limit"})
    assert 1 == len((await _traced(model)).calls)


async def test_the_last_of_a_fallback_s_failures_is_raised() -> None:
    """Where all fail, the last failure stands."""
    trace = await _traced(lf.fallback(_one(_failed("server")), _two(_failed("timeout"))))
    assert "it is timeout" == (trace.failure and trace.failure.text)


async def test_wrappers_nest() -> None:
    """A fallback of retried and of routed models names who was asked in the end, and replays."""
    inner = lf.routed({"two": _two("fine")})
    model = lf.fallback(
        lf.retrying(_one(_failed("server"), _failed("server")), attempts=2, longest=0), inner
    )
    trace = await _traced(model)
    names = ["scripted/one", "scripted/one", "scripted/two"]
    assert names == [call.request.model for call in trace.calls]  # type: ignore[union-attr]
    assert trace.root == lf.replay(trace).root


async def test_a_route_is_chosen_by_the_request() -> None:
    """The function sees the whole request, and names a model."""
    model = lf.routed(
        {"short": _one("1"), "long": _two("2")}, lambda r: "long" if "why" in str(r) else "short"
    )
    trace = await _traced(model)
    assert ("scripted/two", "2") == (trace.calls[0].request.model, trace.outputs.answer)  # type: ignore[union-attr]
    assert trace.root == lf.replay(trace).root


async def test_a_step_may_name_its_route() -> None:
    """A step that names one of the models gets it; the first is for those that name none."""
    model = lf.routed({"fast": _one("1", "1"), "good": _two("2")})
    named = lf.predict("answer", "question -> answer", "ScriptedAnswer.", model="good")
    trace = await _traced(model, named)
    assert ("2", "1") == (trace.outputs.answer, (await _traced(model)).outputs.answer)  # type: ignore[union-attr]
    assert trace.root == lf.replay(trace).root


async def test_an_unknown_route_is_guessed() -> None:
    """A name that is none of the models is shown with the nearest."""
    with pytest.raises(KeyError, match="Did you mean 'long'"):
        await lf.routed({"long": _one("1")}, lambda _: "lung")(ask(), Door())


def test_wrappers_need_a_model() -> None:
    """Nothing to choose from is a mistake."""
    with pytest.raises(ValueError, match="fallback needs a model"):
        lf.fallback()
    with pytest.raises(ValueError, match="routed needs models"):
        lf.routed({})


def test_names_of_choices_list_their_models() -> None:
    """Name and endpoint of a fallback or a route say what is in it."""
    model = lf.fallback(_one(), lf.routed({"a": _two(), "b": _one()}))
    assert "fallback(scripted/one, routed(scripted/two, scripted/one))" == model.name
    assert "scripted" == model.endpoint
