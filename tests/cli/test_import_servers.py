"""Traces are imported from servers, page by page; keys go to them alone."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from commanding import call, done

import lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest

MESSAGES = [{"role": "user", "content": "How long?"}]


@attrs.define
class Server:
    """A server that answers by a function of path, query and body, and what it was asked."""

    url: str
    asked: list[tuple[str, str]] = attrs.field(factory=list)


@contextmanager
def serving(answer: Any) -> Iterator[Server]:
    """Serve ``answer(path, query, body)``, JSON or a status; its requests are noted."""
    server = Server("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.asked.append((self.path, self.headers.get("Authorization", "")))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            found = answer(parts.path, query, json.loads(body) if body else None)
            status = found if isinstance(found, int) else 200
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - their names there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}"
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def phoenix(path: str, query: dict[str, str], _: Any) -> Any:
    """Three spans of the project ``teas``, two a page."""
    if path != "/v1/projects/teas/spans":
        return 404
    start = int(query.get("cursor", "0"))
    spans = [
        {
            "context": {"trace_id": f"t{n}", "span_id": "s"}, "name": "answer", "parent_id": None,
            "start_time": "2026-12-01T10:00:00Z", "end_time": "2026-12-01T10:00:01Z",
            "attributes": {
                "openinference.span.kind": "LLM", "llm.model_name": "m",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "How long?",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": f"{n} minutes",
            },
        }
        for n in range(3)
    ]  # fmt: skip
    return {"data": spans[start : start + 2], "next_cursor": "2" if start == 0 else None}


def langfuse(path: str, query: dict[str, str], _: Any) -> Any:
    """Three traces, two a page, with their observations one by one."""
    prefix = "/api/public/traces"
    if path == prefix:
        start = (int(query["page"]) - 1) * 2
        ids = [{"id": f"t{n}", "observations": ["o"]} for n in range(3)]
        return {"data": ids[start : start + 2], "meta": {"totalPages": 2}}
    name = path.removeprefix(f"{prefix}/")
    observation = {
        "id": f"{name}-o", "type": "GENERATION", "name": "answer", "model": "m", "input": MESSAGES,
        "output": f"{name} minutes", "startTime": "2026-12-01T10:00:00Z",
        "endTime": "2026-12-01T10:00:01Z",
    }  # fmt: skip
    return {"id": name, "name": "tea", "observations": [observation], "scores": []}


def mlflow(path: str, query: dict[str, str], body: Any) -> Any:
    """Three traces of experiment 7, two a page, whose spans have lists of attributes."""
    if path.endswith("/search"):
        assert "7" == body["locations"][0]["mlflow_experiment"]["experiment_id"]
        start = int(body.get("page_token", "0"))
        infos = [{"trace_id": f"t{n}"} for n in range(3)][start : start + 2]
        return {"traces": infos, "next_page_token": "" if start else "2"}
    facts = {
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.spanInputs": {"messages": MESSAGES},
        "mlflow.spanOutputs": f"{query['trace_id']} minutes",
    }
    pairs = [{"key": k, "value": {"string_value": json.dumps(v)}} for k, v in facts.items()]
    span = {"span_id": "s", "name": "answer", "start_time_unix_nano": "5", "attributes": pairs}
    return {"trace": {"trace_info": {}, "spans": [{**span, "end_time_unix_nano": "9"}]}}


SYSTEMS = {"openinference": (phoenix, "teas"), "langfuse": (langfuse, ""), "mlflow": (mlflow, "7")}


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_all_pages_of_a_server_are_imported(
    here: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trace once, with messages and replies; a second import adds nothing."""
    answer, project = SYSTEMS[system]
    monkeypatch.setenv("TEA_KEY", "sk-1")
    with serving(answer) as server:
        line = f"import traces {server.url}/ --from {system} --key-env TEA_KEY"
        line += f" --project {project}" if project else ""
        found = done(here, line)
        assert (3, 3, 0) == (found["traces"], found["calls"], found["unreadable"])
        assert {"Bearer sk-1"} == {key for _, key in server.asked}
        again = done(here, line)
        assert (0, 3, 0) == (again["traces"], again["known"], again["changed"])
    with lf.SqliteStore(here / "lmflow.db") as store:
        (run,) = store.runs.where("kind=import")
        for trace in store.run(run.id):
            (recorded,) = trace.calls
            assert isinstance(recorded.request, ChatRequest)
            assert isinstance(recorded.outcome, ChatReply)
            assert recorded.request.messages[0].content == "How long?"
            assert recorded.outcome.text.endswith(" minutes")
    assert b"sk-1" not in (here / "lmflow.db").read_bytes()


def test_two_keys_are_user_and_password(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Langfuse has a public and a secret one; a variable that is missing is named."""
    monkeypatch.setenv("PUBLIC", "pk")
    monkeypatch.setenv("SECRET", "sk")
    with serving(langfuse) as server:
        line = f"import traces {server.url} --from langfuse --key-env PUBLIC --key-env"
        done(here, f"{line} SECRET")
        pair = base64.b64encode(b"pk:sk").decode()
        assert {f"Basic {pair}"} == {key for _, key in server.asked}
        assert "NOWHERE" in call(here, f"{line} NOWHERE").stderr


def test_a_busy_server_is_asked_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 and a 503 are no end of the import."""
    monkeypatch.setattr("asyncio.sleep", _at_once)
    failures = [429, 503]

    def busy(*asked: Any) -> Any:
        return failures.pop() if failures else phoenix(*asked)

    with serving(busy) as server:
        line = f"import traces {server.url} --from openinference --project teas"
        assert 3 == done(here, line)["traces"]


async def _at_once(_: float) -> None: ...


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *_: 401, "answered 401"),
        (lambda *_: 302, "answered 302"),
        (lambda *_: b"<html>", "isn't JSON"),
        (lambda *_: {"data": [{"nothing": 1}]}, "no traces of a known form"),
    ],
)
def test_what_a_server_refuses_is_said(here: Path, answer: Any, words: str) -> None:
    """In one line, without a redirect being followed; nothing is imported."""
    with serving(answer) as server:
        result = call(here, f"import traces {server.url} --from openinference")
    assert 1 == result.exit_code
    assert words in result.stderr
    assert 1 == len(result.stderr.strip().splitlines())


def test_a_file_at_a_url_is_imported(here: Path) -> None:
    """A URL without --from is that of a file."""
    spans = phoenix("/v1/projects/teas/spans", {}, None)["data"]
    content = "".join(f"{json.dumps(span)}\n" for span in spans).encode()
    with serving(lambda *_: content) as server:
        assert 2 == done(here, f"import traces {server.url}/spans.jsonl")["traces"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ann:pw@example.test/", "shown by every log"),
        ("http://example.test/", "in the clear"),
    ],
)
def test_keys_are_kept_from_others(
    here: Path, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key stands in a URL, and none goes out unencrypted; the message has neither."""
    monkeypatch.setenv("TEA_KEY", "sk-1")
    result = call(here, f"import traces {url} --from langfuse --key-env TEA_KEY")
    assert words in result.stderr
    assert not {"pw", "sk-1"} & set(result.stderr.replace(":", " ").replace("@", " ").split())
