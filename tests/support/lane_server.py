"""A provider's batch interface on the loopback: it delays, expires, reorders and fails requests, and
loses connections, as a schedule says.

The shapes are those of the documentation. OpenAI: "Batch API" (platform.openai.com/docs/guides/batch)
and its reference of files and batches. Anthropic: "Batch processing" (platform.claude.com/docs/en/
build-with-claude/batch-processing) and its reference of message batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import attrs
from aiohttp import web

Answer = Callable[[str], str]
Fault = Callable[[str, int], str]
"""What becomes of a request, by its text and how often it was submitted before: ``""``, ``expire``,
``server``, ``refuse`` or ``lose``.
"""


def no_fault(text: str, before: int) -> str:
    """Answer all."""
    del text, before
    return ""


@attrs.define
class Batch:
    """A batch as the provider has it."""

    id: str
    created: float
    metadata: Mapping[str, str]
    lines: Sequence[Mapping[str, Any]]
    polls: int = 0
    results: list[Any] = attrs.field(factory=list)


@attrs.define(eq=False)
class LaneServer:
    """The provider. ``lost`` are the numbers of requests of HTTP whose connection is lost:
    positive before they are handled, negative after. ``hook`` is called before and after each; it
    says whether the connection is lost.
    """

    answer: Answer
    fault: Fault = no_fault
    polls: int = 1
    lost: frozenset[int] = frozenset()
    seed: int = 0
    refusal: str = ""
    hook: Callable[[], bool] | None = None
    port: int = 0
    requests: int = 0
    files: dict[str, bytes] = attrs.field(factory=dict)
    batches: dict[str, Batch] = attrs.field(factory=dict)
    submitted: Counter[str] = attrs.field(factory=Counter)
    texts: Counter[str] = attrs.field(factory=Counter)
    live: int = 0
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def twice(self) -> list[str]:
        """The ids that were submitted more than once."""
        return [id_ for id_, count in self.submitted.items() if count > 1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of HTTP, or lose it."""
        self.requests += 1
        number = self.requests
        if number in self.lost or (self.hook is not None and self.hook()):
            return _drop(request)
        response = await self._answered(request)
        is_lost = -number in self.lost or (self.hook is not None and self.hook())
        return _drop(request) if is_lost else response

    async def _answered(self, request: web.Request) -> web.Response:  # noqa: C901, PLR0911 - a route each
        path, method = request.path.removeprefix("/v1"), request.method
        parts = path.strip("/").split("/")
        if method == "POST" and parts[-1] in {"completions", "messages"}:
            self.live += 1
            body = await request.json()
            shape = _completion if parts[-1] == "completions" else _message
            return web.json_response(shape(self.answer(_text(body))))
        match method, parts:
            case "POST", ["files"]:
                return await self._upload(request)
            case "GET", ["files", id_, "content"]:
                return web.Response(body=self.files[id_])
            case "POST", ["batches"]:
                return await self._begin_openai(request)
            case "GET", ["batches"]:
                return self._list(request, "after", self._openai)
            case "GET", ["batches", id_]:
                return web.json_response(self._openai(self._polled(id_)))
            case "POST", ["messages", "batches"]:
                return await self._begin_anthropic(request)
            case "GET", ["messages", "batches"]:
                return self._list(request, "after_id", self._anthropic)
            case "GET", ["messages", "batches", id_]:
                return web.json_response(self._anthropic(self._polled(id_)))
            case "GET", ["messages", "batches", id_, "results"]:
                return web.Response(body=_jsonl(self.batches[id_].results))
        return web.Response(status=404)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        assert form["purpose"] == "batch"
        id_ = f"file-{len(self.files)}"
        self.files[id_] = file.file.read()
        return web.json_response({"id": id_, "object": "file", "filename": file.filename})

    async def _begin_openai(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert {line["url"] for line in lines} == {body["endpoint"]}
        assert len({line["body"]["model"] for line in lines}) == 1
        return web.json_response(self._openai(self._begin("batch_", lines, body["metadata"])))

    async def _begin_anthropic(self, request: web.Request) -> web.Response:
        lines = (await request.json())["requests"]
        return web.json_response(self._anthropic(self._begin("msgbatch_", lines, {})))

    def _begin(
        self, prefix: str, lines: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]
    ) -> Batch:
        ids = [line["custom_id"] for line in lines]
        assert len(ids) == len(set(ids))
        assert all(len(id_) <= 64 for id_ in ids)
        batch = Batch(f"{prefix}{len(self.batches)}", time.time(), metadata, lines)
        for line in lines:
            text = _text(_body(line))
            batch.results.append((line["custom_id"], text, self.fault(text, self.texts[text])))
            self.texts[text] += 1
        self.batches[batch.id] = batch
        self.begun.set()
        self.submitted.update(ids)
        openai = prefix == "batch_"
        made = [(self._openai_line if openai else self._anthropic_line)(*r) for r in batch.results]
        random.Random(self.seed).shuffle(made)  # noqa: S311 - no secret
        batch.results = [line for line in made if line is not None]
        if openai:
            good = [line for line in batch.results if line["error"] is None]
            bad = [line for line in batch.results if line["error"] is not None]
            self.files[f"out-{batch.id}"], self.files[f"err-{batch.id}"] = _jsonl(good), _jsonl(bad)
        return batch

    def _polled(self, id_: str) -> Batch:
        batch = self.batches[id_]
        batch.polls += 1
        return batch

    def _list(
        self, request: web.Request, cursor: str, shape: Callable[[Batch], dict[str, Any]]
    ) -> web.Response:
        newest = list(reversed(self.batches.values()))
        after = request.query.get(cursor, "")
        ids = [batch.id for batch in newest]
        start = ids.index(after) + 1 if after else 0
        page = newest[start : start + 2]
        for batch in page:
            batch.polls += 1
        more = start + 2 < len(newest)
        return web.json_response({"data": [shape(batch) for batch in page], "has_more": more})

    def _openai(self, batch: Batch) -> dict[str, Any]:
        ended = batch.polls >= self.polls
        status = "in_progress"
        if ended:
            status = "failed" if self.refusal else "completed"
        total = len(batch.lines)
        fields: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "status": status,
            "created_at": int(batch.created),
            "metadata": dict(batch.metadata),
            "request_counts": {"total": total, "completed": total if ended else 0, "failed": 0},
        }
        if ended and self.refusal:
            errors = [{"code": "refused", "message": self.refusal, "line": None}]
            return {**fields, "errors": {"object": "list", "data": errors}}
        if ended:
            files = {"output_file_id": f"out-{batch.id}", "error_file_id": f"err-{batch.id}"}
            return {**fields, **files}
        return fields

    def _anthropic(self, batch: Batch) -> dict[str, Any]:
        ended = batch.polls >= self.polls
        total = len(batch.lines)
        counts = {"processing": 0 if ended else total, "succeeded": total if ended else 0}
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "created_at": dt.datetime.fromtimestamp(batch.created, dt.UTC)
            .isoformat()
            .replace("+00:00", "Z"),
            "request_counts": {**counts, "errored": 0, "canceled": 0, "expired": 0},
            "results_url": "http://elsewhere.invalid/never" if ended else None,
        }

    def _openai_line(self, id_: str, text: str, fault: str) -> dict[str, Any] | None:
        line: dict[str, Any] = {"id": "r", "custom_id": id_, "response": None, "error": None}
        match fault:
            case "lose":
                return None
            case "expire":
                words = "This request could not be executed before the completion window expired."
                return {**line, "error": {"code": "batch_expired", "message": words}}
            case "server" | "refuse":
                status = 500 if fault == "server" else 400
                body = {"error": {"message": fault, "type": "error"}}
                return {**line, "response": {"status_code": status, "body": body}}
        body = _completion(self.answer(text))
        return {**line, "response": {"status_code": 200, "request_id": "q", "body": body}}

    def _anthropic_line(self, id_: str, text: str, fault: str) -> dict[str, Any] | None:
        result: dict[str, Any]
        match fault:
            case "expire":
                result = {"type": "expired"}
            # Of Anthropic's requests each has a result; a batch is known by these.
            case "server" | "lose" | "refuse":
                kind = "invalid_request_error" if fault == "refuse" else "api_error"
                error = {"type": "error", "error": {"type": kind, "message": fault}}
                result = {"type": "errored", "error": error}
            case _:
                result = {"type": "succeeded", "message": _message(self.answer(text))}
        return {"custom_id": id_, "result": result}


@contextlib.asynccontextmanager
async def lane_server(server: LaneServer) -> AsyncIterator[LaneServer]:
    """Serve while the block lasts, on a free port of 127.0.0.1."""
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", server.port)
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


def _drop(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _jsonl(lines: Sequence[Any]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _body(line: Mapping[str, Any]) -> Mapping[str, Any]:
    body: Mapping[str, Any] = line.get("body") or line["params"]
    return body


def _text(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4},
    }


def _message(text: str) -> dict[str, Any]:
    return {
        "model": "m-1",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 4},
    }
