"""The laws of OpenAI-compatible endpoints: what is sent, what is read, and how each failure is
named.
"""

import json
import socket
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import Reply, Server, chat, refused, serving

import lmflow as lf
from lmflow.errors import LmflowError, ModelFailed
from lmflow.messages.replies import ChatReply, EmbedReply, ModelReply, Usage
from lmflow.messages.requests import EmbedRequest
from lmflow.models.providers.openai import OpenAI
from lmflow.models.retries import Retrying
from lmflow.models.transport.addresses import endpoint_class, host_class
from lmflow.models.wrap import retrying
from lmflow.testing.models import Door

KEY = "sk-canary-4f9d2c7e81b3"
ANSWER = lf.predict("answer", "question -> answer", "Answer.")
HTML = Reply(200, "<!doctype html><title>Welcome to nginx</title>", {"Content-Type": "text/html"})


def _model(url: str, *, attempts: int = 1, timeout: float = 5.0, key: str = KEY) -> Retrying:
    model = OpenAI("openai/test-model", "test-model", url, endpoint_class(url), key, timeout)
    return retrying(model, attempts=attempts, longest=0.01)


async def _asked(server: Server, program: lf.Program = ANSWER, **settings: Any) -> lf.Trace:
    async with lf.Executor(_model(server.url, **settings)) as ex:
        return await ex.run(program, question="why?")


async def _failure(*replies: Reply, **settings: Any) -> ModelFailed:
    async with serving(*replies) as server:
        with pytest.raises(ModelFailed) as caught:
            await _asked(server, **settings)
    return caught.value


def _reply(trace: lf.Trace) -> ChatReply:
    outcome = trace.calls[-1].outcome
    assert isinstance(outcome, ChatReply)
    return outcome


async def test_the_body_is_what_was_asked() -> None:
    """The body holds model, messages and options as given, and nothing else."""
    options = {"temperature": 0.5, "max_tokens": 9, "stop": ["\n"], "seed": 3}
    step = lf.predict("answer", "question -> answer", "Answer.", options=options)
    async with serving() as server:
        trace = await _asked(server, step)
    request = trace.calls[0].request
    messages = [{"role": m.role, "content": m.content} for m in request.messages]  # type: ignore[union-attr]
    assert [{"model": "test-model", "messages": messages, **options}] == [
        seen.body for seen in server.seen
    ]


async def test_the_path_is_the_base_url_and_chat_completions() -> None:
    """A slash at the end of the base URL changes nothing."""
    async with serving() as server:
        for url in (server.url, f"{server.url}/"):
            async with lf.Executor(_model(url)) as ex:
                await ex.run(ANSWER, question="why?")
    assert ["/v1/chat/completions"] * 2 == [seen.path for seen in server.seen]


async def test_the_key_is_in_the_authorization_header_only() -> None:
    """The key is sent as a bearer token, and nowhere else."""
    async with serving() as server:
        await _asked(server)
    headers = {name: value for name, value in server.seen[0].headers.items() if KEY in value}
    assert {"Authorization": f"Bearer {KEY}"} == headers
    assert KEY not in json.dumps(server.seen[0].body)


async def test_without_a_key_there_is_no_authorization() -> None:
    """A server that needs no key is sent none."""
    async with serving() as server:
        await _asked(server, key="")
    assert "Authorization" not in server.seen[0].headers


async def test_text_finish_model_and_usage_are_read() -> None:
    """The reply holds the first choice's text, how it ended, the model and the tokens, the cached
    ones too.
    """
    async with serving(chat("fine")) as server:
        trace = await _asked(server)
    assert ChatReply("fine", "stop", "test-model-2026", Usage(7, 3, 5)) == _reply(trace)


async def test_usage_may_be_missing() -> None:
    """Where the provider counts no tokens they are unknown, not zero."""
    async with serving(chat("fine", usage=None)) as server:
        assert Usage(None, None, None) == _reply(await _asked(server)).usage


async def test_null_content_is_an_empty_text() -> None:
    """A message without content is an empty text."""
    async with serving(chat(None)) as server:
        async with lf.Executor(_model(server.url)) as ex:
            trace = (await ex.map(ANSWER, [{"question": "why?"}])).traces[0]
        assert "" == _reply(trace).text


async def test_a_wrong_content_type_is_no_mistake() -> None:
    """The right JSON under another content type is read."""
    async with serving(Reply(200, chat("fine").body, {"Content-Type": "text/plain"})) as server:
        assert "fine" == (await _asked(server)).outputs.answer  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "request"),
        (401, "auth"),
        (403, "auth"),
        (404, "unknown_model"),
        (408, "timeout"),
        (422, "request"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "server"),
    ],
)
async def test_a_status_has_its_kind(status: int, kind: str) -> None:
    """Each kind of refusal is told by its status, which is kept."""
    error = await _failure(refused(status))
    assert (kind, status) == (error.kind, error.status)


@pytest.mark.parametrize(
    ("status", "fix"),
    [(401, "OPENAI_API_KEY"), (404, "Check the model's name"), (429, "concurrency")],
)
async def test_a_refusal_says_what_mends_it(status: int, fix: str) -> None:
    """The words of a refusal hold the server's own words and the fix."""
    text = str(await _failure(refused(status, "so it goes")))
    assert ("so it goes" in text, fix in text) == (True, True)


async def test_a_refusal_names_model_and_place() -> None:
    """The words of a refusal begin with the model and the host."""
    async with serving(refused(400)) as server:
        with pytest.raises(ModelFailed) as caught:
            await _asked(server)
    assert str(caught.value).startswith(f"openai/test-model: {server.place} answered 400: no")


@pytest.mark.parametrize(
    "body", ["", "plain words", '{"detail": "odd"}', '{"error": "flat"}', '{"error": null}', "[1]"]
)
async def test_an_error_body_may_be_anything(body: str) -> None:
    """Whatever a refusal's body is, it is a refusal."""
    assert "request" == (await _failure(Reply(400, body))).kind


@pytest.mark.parametrize(
    "body",
    [
        HTML.body,
        "",
        "null",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": null}',
        '{"choices": [{}]}',
        '{"choices": ["x"]}',
        chat("fine").body[:60],
    ],
)
async def test_what_is_no_completion_is_a_bad_reply(body: str) -> None:
    """A success that holds no completion (HTML, nothing, no choices, half a JSON text) is a bad
    reply.
    """
    assert "bad_reply" == (await _failure(Reply(200, body))).kind


async def test_html_is_shown_with_its_place() -> None:
    """A page instead of JSON is named by host, and its beginning is shown."""
    async with serving(HTML) as server:
        with pytest.raises(ModelFailed) as caught:
            await _asked(server)
    text = str(caught.value)
    assert (True, True) == (server.place in text, "<!doctype html><title>Welcome" in text)


async def test_a_long_bad_body_is_cut() -> None:
    """Of a body that can't be read only the beginning is kept."""
    assert 600 > len(str(await _failure(Reply(200, "x" * 100_000))))


async def test_redirects_are_not_followed() -> None:
    """A redirect is no answer: the key would go to another place."""
    async with serving() as other:
        error = await _failure(Reply(307, "", {"Location": f"{other.url}/chat/completions"}))
    assert ("bad_reply", 0) == (error.kind, len(other.seen))


async def test_an_endpoint_that_is_down_is_unreachable() -> None:
    """Where nothing listens, the error names host and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelFailed) as caught:
        async with lf.Executor(_model(f"http://127.0.0.1:{port}/v1")) as ex:
            await ex.run(ANSWER, question="why?")
    assert ("unreachable", True) == (caught.value.kind, f"127.0.0.1:{port}" in str(caught.value))


async def test_a_dropped_connection_is_unreachable() -> None:
    """A server that hangs up gave no answer."""
    assert "unreachable" == (await _failure(Reply(close=True))).kind


async def test_a_hang_is_a_timeout() -> None:
    """A server that stays silent is left after the model's timeout."""
    error = await _failure(Reply(delay=30), timeout=0.1)
    assert ("timeout", True) == (error.kind, "within 0.1 s" in str(error))


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/v1", "http://", "127.0.0.1:80/v1"])
async def test_an_invalid_base_url_is_named(url: str) -> None:
    """A base URL that is none is a mistake of the request: it is shown, and not tried again."""
    async with lf.Executor(_model(url, attempts=3)) as ex:
        run = await ex.map(ANSWER, [{"question": "why?"}])
    failure = run.traces[0].failure
    assert failure is not None
    assert (1, True) == (len(run.traces[0].calls), url in failure.text)


async def test_odd_unicode_is_kept_readable() -> None:
    """Half a surrogate pair in a reply becomes a question mark: it can be stored and hashed."""
    async with serving(Reply(200, str(chat("X").body).replace('"X"', r'"a\ud800b"'))) as server:
        run = await _mapped(server)
    assert run.items[0][1].done


async def _mapped(server: Server) -> lf.Run:
    async with lf.Executor(_model(server.url)) as ex:
        return await ex.map(ANSWER, [{"question": "why?"}])


def _echoes() -> list[Reply]:
    words = f"Incorrect API key provided: {KEY}."
    return [
        refused(401, words),
        refused(500, words),
        Reply(400, words),
        Reply(200, f"<html>{words}"),
        chat(f"Your key is {KEY}"),
        chat("fine", model=KEY),
        Reply(200, json.dumps({"error": {"message": words}})),
    ]


@pytest.mark.parametrize("echo", _echoes())
async def test_the_key_is_nowhere(
    echo: Reply, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is in no trace, error, output or file, also where the server says it back."""
    path = tmp_path / "canary.db"
    said: list[object] = []
    async with serving(echo) as server:
        model = _model(server.url, attempts=2)
        with lf.SqliteStore(path) as store:
            async with lf.Executor(model, store) as ex:
                run = await ex.map(ANSWER, [{"question": "why?"}])
                said += [run, run.traces, model, store.run(run.id), lf.diagram(ANSWER)]
                try:
                    said.append(await ex.run(ANSWER, question="why?"))
                except LmflowError as error:
                    said += [error, repr(error), error.args, error.__cause__, error.__context__]
            files = _bytes(tmp_path)
    files += _bytes(tmp_path)
    assert [] == [
        text for text in (*map(str, said), *map(repr, said), *capsys.readouterr()) if KEY in text
    ]
    assert [] == [file for file in files if KEY.encode() in file]
    assert not any(KEY in blob for blob in _blobs(path))


def _bytes(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


def _blobs(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT enc, data FROM blob").fetchall()
    return [(zlib.decompress(data) if enc else data).decode() for enc, data in rows]


async def test_a_key_is_masked_where_it_is_echoed() -> None:
    """The rest of what the server said is kept."""
    error = await _failure(refused(401, f"bad key {KEY}, sorry"))
    assert "bad key ***, sorry" in str(error)


@pytest.mark.parametrize(
    ("url", "endpoint", "host"),
    [
        ("https://api.example.com/v1", "api.example.com", "api.example.com"),
        ("https://api.example.com:443/v1/", "api.example.com", "api.example.com"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1:8080", "127.0.0.1"),
        ("http://127.0.0.1:8080/team/v1", "127.0.0.1:8080/team", "127.0.0.1"),
        ("http://127.0.0.1/v2", "127.0.0.1/v2", "127.0.0.1"),
        ("http://user:word@host:1/v1", "host:1", "host"),
        ("http://[::1]:8080/v1", "[::1]:8080", "::1"),
    ],
)
def test_the_endpoint_class_is_host_port_and_path(url: str, endpoint: str, host: str) -> None:
    """Servers of one host differ by port and path; recordings before had the host alone."""
    assert (endpoint, host) == (endpoint_class(url), host_class(endpoint_class(url)))


@pytest.mark.parametrize("name", ["openai", "local", "api.example.com", "openai, anthropic"])
def test_the_class_of_a_provider_is_its_name(name: str) -> None:
    """A declared name has neither port nor path to lose."""
    assert name == host_class(name)


async def test_another_port_is_another_key() -> None:
    """A recording made at one port doesn't answer for the server at another one."""
    async with serving() as one, serving() as other:
        keys = [(await _asked(server)).calls[0].key for server in (one, other)]
    assert keys[0] != keys[1]


def vectors(*rows: list[float], **changes: Any) -> Reply:
    """An embeddings reply with those rows, in the given order; ``changes`` replace fields of its
    body.
    """
    data = [
        {"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)
    ]
    body = {
        "model": "test-embedder",
        "data": data,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    return Reply(body=json.dumps({**body, **changes}))


async def _embedded(server: Server, *texts: str) -> ModelReply:
    return await _model(server.url)(EmbedRequest(texts), Door())


async def test_texts_are_embedded_in_one_request() -> None:
    """All texts go out together to /v1/embeddings; a vector a text comes back, in their order."""
    async with serving(vectors([1, 0.5], [0, 2])) as server:
        reply = await _embedded(server, "a", "b")
    assert EmbedReply(((1.0, 0.5), (0.0, 2.0)), "test-embedder", Usage(4, 0)) == reply
    assert [("/v1/embeddings", {"model": "test-model", "input": ["a", "b"]})] == [
        (s.path, s.body) for s in server.seen
    ]


async def test_vectors_are_ordered_by_their_index() -> None:
    """The order of the texts counts, not the order of the answer."""
    data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]
    async with serving(vectors(data=data)) as server:
        assert ((1.0,), (2.0,)) == (await _embedded(server, "a", "b")).vectors  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "reply",
    [vectors([1]), vectors([1], [1, 2]), vectors(), vectors(data=[{"index": 0}]), Reply(body="{}")],
)
async def test_what_is_no_vector_a_text_is_a_bad_reply(reply: Reply) -> None:
    """Too few vectors, vectors of two lengths or none at all are a bad reply."""
    async with serving(reply) as server:
        with pytest.raises(ModelFailed) as caught:
            await _embedded(server, "a", "b")
    assert "bad_reply" == caught.value.kind
