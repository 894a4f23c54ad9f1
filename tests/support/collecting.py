"""A collector of spans in tests: an OTLP endpoint on the loopback that says what it got."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from lmflow.telemetry.protobuf import accepted, decode
from lmflow.telemetry.raw import RawSpan

Answer = tuple[int, dict[str, str], bytes]


@attrs.define
class Collector:
    """What arrived, and how the next requests are answered; by default all spans are taken."""

    url: str = ""
    spans: list[RawSpan] = attrs.field(factory=list)
    requests: int = 0
    headers: list[dict[str, str]] = attrs.field(factory=list)
    answers: list[Answer] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    heard: Callable[[], object] = bool

    def by_id(self) -> dict[tuple[str, str], RawSpan]:
        """The spans by their ids, each once."""
        return {(span.trace, span.id): span for span in self.spans}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """An OTLP endpoint that keeps the spans it gets."""
    found = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests += 1
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, answer = 200, dict[str, str](), accepted(0, "")
            if found.answers:
                status, headers, answer = found.answers.pop(0)
            if status == 200:
                found.bodies.append(gzip.decompress(body))
                found.spans += decode(found.bodies[-1])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            found.heard()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
