"""The laws of programs over HTTP: a request is a run, recorded, under the version of its moment;
nothing else is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import ANSWER, Client, Got, Held, echo, served, until

import lmflow as lf
from lmflow.errors import ForeignPaths, ModelUnavailable, Unbounded, UnknownVersion, Unservable
from lmflow.execution.rollout import Rollout
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.serve import Limits
from lmflow.serve.openapi import outputs_of
from lmflow.serve.results import AccessRecord
from lmflow.traces.events import RefMoved


@lf.tool
def double(n: int, times: int = 2) -> int:
    """So many times."""
    return n * times


@lf.tool
def size(answer: str) -> int:
    """The number of letters."""
    return len(answer)


broken = lf.tool("broken", "text -> n: int", lambda text: {}[text], version="1")


@lf.flow("text -> answer", uses=[ANSWER])
async def failing(text: str) -> str:
    """Fails by itself."""
    await ANSWER(question=text)
    raise LookupError(f"the secret is {text}")


@attrs.frozen
class World:
    """A store, and what serves from it."""

    store: Any
    ex: lf.Executor


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """An executor on a store."""
    memory = request.param == "memory"
    store = (
        lf.MemoryStore() if memory else lf.SqliteStore(tmp_path_factory.mktemp("serve") / "s.db")
    )
    async with lf.Executor(lf.scripted(echo), store) as ex:
        yield World(store, ex)
    store.close()


@pytest.fixture
async def plain() -> AsyncIterator[Client]:
    """A client of a program that needs no model."""
    async with lf.Executor() as ex, served(lf.serve.app(double, ex)) as client:
        yield client


async def test_an_answer_is_that_of_a_run(world: World) -> None:
    """The outputs are those that ``ex.run`` gives."""
    async with served(lf.serve.app(ANSWER, world.ex)) as client:
        got = await client.ask({"question": "how long?"})
    run = await world.ex.run(ANSWER, question="how long?")
    assert (200, dict(run.outputs or {})) == (got.status, got.json["outputs"])
    assert world.store.trace(got.json["trace"]).root == run.root


async def test_a_request_is_on_record_when_it_is_answered(world: World) -> None:
    """Body and headers name a run of the kind serve, whose trace holds inputs, outputs and every
    call; it replays.
    """
    async with served(lf.serve.app(ANSWER, world.ex.limited(target="app:answer"))) as client:
        got = await client.ask({"question": "how long?"})
        run = world.store.run(got.json["run"])
    (trace,) = run
    assert ("serve", "done", "app:answer", 1) == (
        run.kind,
        run.status,
        run.target,
        len(trace.calls),
    )
    ids = [got.json[name] for name in ("run", "trace", "version")]
    assert ids == [run.id, trace.id, trace.version.id]
    assert ids == [got.headers[f"Lmflow-{name}"] for name in ("Run", "Trace", "Version")]
    assert lf.replay(run, ANSWER).root == run.root


async def test_a_request_may_have_an_id(world: World) -> None:
    """A plain X-Request-Id is in the label of the run; anything else isn't."""
    async with served(lf.serve.app(ANSWER, world.ex)) as client:
        for given_, label in (("a-1", "req[a-1]"), ("<b>", "req"), ("", "req"), ("x" * 65, "req")):
            got = await client.ask({"question": "q"}, X_Request_Id=given_)
            assert label == world.store.run(got.json["run"]).items[0][0]


async def test_a_moved_ref_answers_from_the_next_request_on(world: World) -> None:
    """Each request runs under the version that the ref points at when its turn comes, and says
    which.
    """
    first = lf.init(ANSWER)
    second = first.put({"answer.instruction": "Answer in one word."})
    lf.commit(world.store, "prod", first)
    async with served(lf.serve.app(ANSWER, world.ex, "prod")) as client:
        seen = [(await client.ask({"question": "q"})).json["version"]]
        lf.commit(world.store, "prod", second)
        seen.append((await client.ask({"question": "q"})).json["version"])
        lf.commit(world.store, "prod", first)
        seen.append((await client.ask({"question": "q"})).json["version"])
    assert [first.id, second.id, first.id] == seen


async def test_what_is_open_keeps_its_version(world: World) -> None:
    """A request that is executed while the ref moves ends under the version that it began with."""
    model, first = Held(), lf.init(ANSWER)
    second = first.put({"answer.instruction": "Answer in one word."})
    lf.commit(world.store, "prod", first)
    async with (
        lf.Executor(model, world.store) as ex,
        served(lf.serve.app(ANSWER, ex, "prod")) as client,
    ):
        early = asyncio.create_task(client.ask({"question": "q"}))
        await model.asked.wait()
        lf.commit(world.store, "prod", second)
        late = asyncio.create_task(client.ask({"question": "q"}))
        await until(lambda: model.open == 2)
        model.let.set()
        assert [first.id, second.id] == [
            (await early).json["version"],
            (await late).json["version"],
        ]


async def test_a_ref_that_is_gone_runs_nothing(world: World) -> None:
    """Where the ref points at nothing, a request fails, and health says so; no other version
    answers in its place.
    """
    lf.commit(world.store, "prod", lf.init(ANSWER))
    async with served(lf.serve.app(ANSWER, world.ex, "prod")) as client:
        world.store.append(RefMoved("prod", "", "", 1)).result()
        got, health = await client.ask({"question": "q"}), await client.get("/healthz")
    assert (503, "UnknownVersion") == (got.status, got.json["error"])
    assert (503, "failing", "UnknownVersion") == (
        health.status, health.json["status"], health.json["programs"]["answer"]["error"],
    )  # fmt: skip
    assert [] == list(world.store.runs())


async def test_a_version_may_be_fixed(world: World) -> None:
    """A version as a value, or none, answers whatever the refs say."""
    version = lf.init(ANSWER).put({"answer.instruction": "Answer in one word."})
    async with served(lf.serve.app(ANSWER, world.ex, version)) as client:
        assert version.id == (await client.ask({"question": "q"})).json["version"]
    async with served(lf.serve.app(ANSWER, world.ex)) as client:
        assert lf.init(ANSWER).id == (await client.ask({"question": "q"})).json["version"]


async def test_several_programs_have_paths_and_refs_of_their_own(world: World) -> None:
    """``/run/NAME`` asks the program of that name, under its own ref."""
    lf.commit(world.store, "prod", lf.init(ANSWER).put({"answer.instruction": "Be brief."}))
    app = lf.serve.app({"answer": ANSWER, "double": double}, world.ex, {"answer": "prod"})
    async with served(app) as client:
        answers = [
            await client.ask({"question": "q"}, "/run/answer"),
            await client.ask({"n": 2}, "/run/double"),
        ]
        assert 404 == (await client.ask({"n": 2})).status
    assert [{"answer": "q"}, {"double": 4}] == [got.json["outputs"] for got in answers]
    assert world.store.version("prod").id == answers[0].json["version"]


@pytest.mark.parametrize(
    ("status", "error", "words", "body"),
    [
        (422, "WrongType", "double.n expects int, found 'x'", b'{"n": "x"}'),
        (422, "WrongType", "double.n expects int, found 1.5", b'{"n": 1.5}'),
        (422, "MissingInput", "double needs the input 'n'", b"{}"),
        (422, "UnknownInput", "Did you mean 'times'?", b'{"n": 1, "time": 3}'),
        (422, "UnknownInput", "double has no input 'self'", b'{"n": 1, "self": 3}'),
        (400, "bad_json", "the body must be a JSON object with `n`, `times`", b"[1]"),
        (400, "bad_json", "the body is not JSON", b"{"),
        (400, "bad_json", "the body is not JSON", b""),
        (400, "bad_json", "the body is not JSON", b'{"n": NaN}'),
        (400, "bad_json", "the body is not JSON", b'{"n": "\xff"}'),
        (400, "bad_json", "nested too deeply", b'{"n": ' + b"[" * 200_000),
        (413, "large_body", "at most 1,000,000 bytes", b'{"n": "' + b"x" * 1_000_000),
    ],
)
async def test_bad_input_is_a_problem(
    plain: Client, status: int, error: str, words: str, body: bytes
) -> None:
    """What isn't the signature's input is refused with the error's own words, as problem details."""
    got = await plain.ask(data=body)
    assert (status, "application/problem+json") == (got.status, got.headers["Content-Type"])
    assert (status, error, f"urn:lmflow:error:{error}") == tuple(
        got.json[k] for k in ("status", "error", "type")
    )
    assert words in got.json["detail"]


@given(st.binary(max_size=60))
@settings(max_examples=60)
def test_no_body_breaks_the_server(body: bytes) -> None:
    """Whatever the bytes, the answer is JSON, and 200 or a problem of the client's."""

    async def go() -> Got:
        async with lf.Executor() as ex, served(lf.serve.app(double, ex)) as client:
            return await client.ask(data=body)

    got = asyncio.run(go())
    assert got.status in {200, 400, 422}
    assert got.json


async def test_a_body_says_that_it_is_json(plain: Client) -> None:
    """Another media type is refused, so that a page of a browser can't ask without the server's
    leave.
    """
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        got = await plain.ask({"n": 1}, Content_Type=media)
        assert (415, "media_type") == (got.status, got.json["error"])
    assert 200 == (await plain.ask({"n": 1}, Content_Type="application/json; charset=utf-8")).status


async def test_a_packed_body_counts_as_it_is_unpacked(plain: Client) -> None:
    """A small body that unpacks to more than the limit is refused."""
    import zlib  # noqa: PLC0415 - used here alone

    packed = zlib.compress(json.dumps({"n": "x" * 5_000_000}).encode())
    assert 413 == (await plain.ask(data=packed, Content_Encoding="deflate")).status
    assert 400 == (await plain.ask(data=b"not packed", Content_Encoding="deflate")).status


async def test_unknown_paths_and_methods_are_problems(plain: Client) -> None:
    """What isn't there is told in JSON, with what is; a path is never shown back."""
    got = await plain.get("/<script>")
    assert (404, "unknown_path", "there is `/run`, `/openapi.json`, `/healthz`.") == (
        got.status, got.json["error"], got.json["detail"],
    )  # fmt: skip
    got = await plain.get("/run")
    assert (405, "unknown_method", "POST") == (got.status, got.json["error"], got.headers["Allow"])


@pytest.mark.parametrize(
    ("status", "error", "words", "program"),
    [
        (502, "ToolFailed", "the tool 'broken' failed with KeyError.", broken),
        (500, "LookupError", "the program failed with LookupError.", failing),
        (502, "ParseFailure", "n gave no reply that holds", lf.predict("n", "text -> n: int")),
    ],
)
async def test_a_failure_is_a_problem_and_on_record(
    world: World, status: int, error: str, words: str, program: lf.Program
) -> None:
    """A failed execution has a status of its kind; what failed is in the record, words from outside
    aren't told.
    """
    async with served(lf.serve.app(program, world.ex)) as client:
        got = await client.ask({"text": "secret"})
    assert (status, error) == (got.status, got.json["error"])
    assert words in got.json["detail"]
    assert "secret" not in got.text
    run = world.store.run(got.json["run"])
    assert ("failed", error) == (run.status, run.traces[0].failure.kind)
    assert run.traces[0].id == got.json["trace"] == got.headers["Lmflow-Trace"]
    assert lf.replay(run, program).root == run.root


async def test_hostile_text_is_only_ever_json(world: World) -> None:
    """What a model wrote comes as JSON in ASCII, under JSON's media type, which no browser takes
    for a page.
    """
    hostile = "<script>alert(1)</script>\u2028\x00é"
    async with (
        lf.Executor(lf.scripted(lambda _: hostile), world.store) as ex,
        served(lf.serve.app(ANSWER, ex)) as client,
    ):
        got = await client.ask({"question": "q"})
    assert (hostile, "application/json", "nosniff") == (
        got.json["outputs"]["answer"], got.headers["Content-Type"], got.headers["X-Content-Type-Options"],
    )  # fmt: skip
    assert got.text.isascii()


async def test_every_request_is_told(world: World) -> None:
    """Who runs the server hears of each request how it ended and where it is recorded, and nothing
    of its body.
    """
    heard: list[AccessRecord] = []
    async with served(lf.serve.app(ANSWER, world.ex, tell=heard.append)) as client:
        got = await client.ask({"question": "my secret"})
        await client.ask({"question": 3})
    assert [("POST /run", 200, "", got.json["run"]), ("POST /run", 422, "WrongType", "")] == [
        (told.route, told.status, told.error, told.run) for told in heard
    ]
    assert "secret" not in repr(heard)


async def test_it_is_mounted_in_an_application_of_the_user(world: World) -> None:
    """Under a prefix it answers as it does alone, and its document names the prefix."""
    outer = web.Application()
    outer.add_subapp("/ask/", lf.serve.app(ANSWER, world.ex))
    async with served(outer) as client:
        assert {"answer": "q"} == (await client.ask({"question": "q"}, "/ask/run")).json["outputs"]
        assert [{"url": "/ask"}] == (await client.get("/ask/openapi.json")).json["servers"]
        assert "unknown_path" == (await client.get("/ask/nope")).json["error"]


async def test_what_could_not_run_is_not_offered(world: World) -> None:
    """A ref, version, model or budget that a request would fail on is refused before the server
    begins.
    """
    foreign = lf.Version(params={"other.instruction": "x"})
    with pytest.raises(UnknownVersion):
        lf.serve.app(ANSWER, world.ex, "prod")
    with pytest.raises(ForeignPaths):
        lf.serve.app(ANSWER, world.ex, foreign)
    with pytest.raises(ModelUnavailable):
        lf.serve.app(lf.predict("a", "q -> b", model="nobody/nothing"), world.ex)
    with pytest.raises(Unbounded):
        lf.serve.app(ANSWER, world.ex, limits=Limits(budget=lf.Budget(tokens=100)))
    with pytest.raises(Unservable, match="Did you mean 'answer'"):
        lf.serve.app(ANSWER, world.ex, {"answr": None})
    with pytest.raises(Unservable, match="can't stand in a path"):
        lf.serve.app({"a/b": ANSWER}, world.ex)


async def test_a_composition_without_a_name_is_called_program(world: World) -> None:
    """A chain is offered too, with all that it adds as outputs."""
    chain = ANSWER >> size
    async with served(lf.serve.app(chain, world.ex)) as client:
        assert {"answer": "word", "size": 4} == (await client.ask({"question": "a word"})).json[
            "outputs"
        ]
        assert ["program"] == list((await client.get("/healthz")).json["programs"])


async def test_a_world_is_what_a_run_would_meet(world: World) -> None:
    """``ex.world`` says beforehand what the trace says afterwards, with stale defaults, and sends
    nothing.
    """
    old = lf.init(ANSWER).put({"answer.instruction": "Reply."})
    stale = attrs.evolve(lf.init(ANSWER), params=old.params)
    lf.commit(world.store, "prod", stale)
    before = world.ex.world(ANSWER, version="prod")
    assert [] == list(world.store.runs())
    assert before == (await world.ex.run(ANSWER, version="prod", question="q")).world
    assert {"then": "Reply.", "now": "Answer."} == dict(before.stale["answer.instruction"])


async def test_once_is_a_run_also_where_it_fails(world: World) -> None:
    """``ex.once`` gives run and error of an execution of any kind, where ``ex.run`` raises; both
    are on record.
    """
    run, error = await world.ex.once(
        Rollout(broken(text="x"), lf.init(broken), "mine"), kind="serve"
    )
    assert ("failed", "mine", "ToolFailed") == (run.status, run.items[0][0], type(error).__name__)
    assert run.root == world.store.run(run.id).root


async def test_what_a_provider_wants_back_is_not_shown() -> None:
    """Outputs fit their schema: an agent's calls are shown without the provider's state."""
    state = {"origin": "x", "thinking": [{"signature": "S"}]}
    call = ChatReply("", "tool_calls", calls=(ToolCall("double", '{"n": 2}', state=state),))
    agent = lf.react("question -> answer", [double])
    async with (
        lf.Executor(lf.scripted([call, "fine", "four"])) as ex,
        served(lf.serve.app(agent, ex)) as client,
    ):
        outputs = (await client.ask({"question": "why?"})).json["outputs"]
    (use,) = outputs["trajectory"][0]["calls"]
    assert {"name": "double", "arguments": {"n": 2}, "problem": ""} == use
    calls = outputs_of(agent)["properties"]["trajectory"]["items"]["properties"]["calls"]
    assert set(use) == set(calls["items"]["properties"])
