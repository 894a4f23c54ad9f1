"""The laws of the receiver: what it acknowledges is stored, what is no trace data is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from lmflow.collector.receiver import LARGEST_BODY, listen
from lmflow.telemetry.protobuf import encode, rejected
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.spans import Span

pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")

SPAN = Span(
    "aa" * 16, "bb" * 8, "", "chat MODEL", "client", 1, 2, {"gen_ai.operation.name": "chat"}
)
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def received() -> AsyncIterator[tuple[str, list[RawSpan]]]:
    """The URL of a receiver, and what it stored; it refuses spans without a name."""
    stored: list[RawSpan] = []

    def take(spans: Sequence[RawSpan]) -> int:
        stored.extend(span for span in spans if span.name)
        return sum(1 for span in spans if not span.name)

    runner, port = await listen(take, 0)
    yield f"http://127.0.0.1:{port}/v1/traces", stored
    await runner.cleanup()


async def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """The status and the answer of a request."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def test_both_forms_are_taken(received: Any) -> None:
    """Protobuf, compressed or not, and JSON give the same span."""
    url, stored = received
    body = encode([SPAN], "", {})
    pair = {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}
    span = {
        "traceId": SPAN.trace, "spanId": SPAN.id, "name": SPAN.name, "startTimeUnixNano": "1",
        "endTimeUnixNano": "2", "attributes": [pair],
    }  # fmt: skip
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    assert 200 == (await post(url, body, PROTOBUF))[0]
    assert (
        200 == (await post(url, gzip.compress(body), {**PROTOBUF, "Content-Encoding": "gzip"}))[0]
    )
    assert (200, b"{}") == await post(url, json.dumps(document).encode(), JSON)
    assert 3 == len(stored)
    assert stored[0] == stored[1] == stored[2]


async def test_what_is_refused_is_counted(received: Any) -> None:
    """A partial success says how many spans were refused."""
    url, stored = received
    nameless = Span(SPAN.trace, "cc" * 8, "", "", "client", 1, 2, {})
    status, answer = await post(url, encode([SPAN, nameless], "", {}), PROTOBUF)
    assert (200, 1, 1) == (status, rejected(answer)[0], len(stored))


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"a": 1}', JSON, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {**JSON, "Host": "evil.example"}, 403),
        (b"{}", {**JSON, "Origin": "https://evil.example"}, 403),
        (gzip.compress(b" " * (LARGEST_BODY + 1)), {**JSON, "Content-Encoding": "gzip"}, 413),
    ],
)
async def test_what_is_no_trace_data_is_refused(
    received: Any, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Broken, unknown and too large bodies, and requests of web pages, store nothing."""
    url, stored = received
    assert status == (await post(url, body, headers))[0]
    assert [] == stored
