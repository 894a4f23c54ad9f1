"""Sends spans to an OTLP endpoint over HTTP, with retries."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import attrs

from lmflow.errors import ExportRefused, TelemetryError
from lmflow.models.transport.retry_after import retry_seconds
from lmflow.telemetry.protobuf import check_installed, encode, rejected
from lmflow.telemetry.spans import Span
from lmflow.values.printing import printable

if TYPE_CHECKING:
    import aiohttp

PATH = "/v1/traces"
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_OK = range(200, 300)
_LARGEST_ANSWER = 1_000_000
_WORDS = 200
_FIX = "Nothing is lost: the next export begins where this one stopped."


def traces_url(url: str) -> str:
    """Return the URL that spans are posted to.

    Raises:
        TelemetryError: It isn't one of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problem = f"{printable(url.rpartition('@')[2], _WORDS)!r} isn't an http(s) URL"
        raise TelemetryError(problem, "Write one, such as http://127.0.0.1:4318.")
    return url if parts.path.strip("/") else f"{url.rstrip('/')}{PATH}"


@attrs.frozen
class Endpoint:
    """Where spans are sent.

    Args:
        url: The URL; ``/v1/traces`` is added to one without a path.
        headers: Further headers, such as one that authorizes; they are in no message.
        seconds: How long one request may take.
        tries: How often a request is sent before the export stops.
        longest_wait: The longest wait between two tries, in seconds; a server that asks for a
            longer one with ``Retry-After`` stops the export.
    """

    url: str = attrs.field(converter=traces_url)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    seconds: float = 30.0
    tries: int = 6
    longest_wait: float = 60.0

    @property
    def name(self) -> str:
        """The URL without user, password and query: what messages and cursors name it by."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@attrs.frozen
class Sent:
    """What came of a request: how many spans it had, how many were rejected, and why."""

    spans: int = 0
    rejected: int = 0
    words: str = ""

    def __add__(self, other: Sent) -> Sent:
        """Return the sums of both, with the first words."""
        return Sent(
            self.spans + other.spans, self.rejected + other.rejected, self.words or other.words
        )


class Sender:
    """Posts spans to an endpoint over one kept session, which the block closes."""

    def __init__(self, endpoint: Endpoint, schema_url: str, resource: Mapping[str, Any]) -> None:
        check_installed()
        self.endpoint = endpoint
        self._schema_url = schema_url
        self._resource = resource
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        import aiohttp  # noqa: PLC0415 - importing it is slow

        timeout = aiohttp.ClientTimeout(total=self.endpoint.seconds)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    def encoded(self, spans: Sequence[Span]) -> bytes:
        """Return the body that exports spans, compressed."""
        return gzip.compress(encode(spans, self._schema_url, self._resource), compresslevel=1)

    async def send(self, body: bytes, spans: int) -> Sent:
        """Send a body; transient failures are retried, as long as the server asks for.

        Args:
            body: What ``encoded`` returned.
            spans: How many spans it has.

        Raises:
            ExportRefused: The server refused it, or could not be reached in all tries.
        """
        for tries_left in range(self.endpoint.tries - 1, -1, -1):
            wait, problem = None, ""
            try:
                status, headers, answer = await self._post(body)
            except _transport_errors() as error:
                problem = f"it can't be reached ({type(error).__name__})"
            else:
                if status in _OK:
                    rejected_spans, words = rejected(answer)
                    return Sent(spans, rejected_spans, printable(words, _WORDS))
                problem = f"it answered {status} {_clean(answer)}".strip()
                if status not in _TRANSIENT:
                    raise self._refused(problem)
                wait = retry_seconds(headers, None, "")
            if not tries_left or (wait or 0.0) > self.endpoint.longest_wait:
                raise self._refused(problem if wait is None else f"{problem}, wait {wait:.0f} s")
            await asyncio.sleep(self._backoff(self.endpoint.tries - 1 - tries_left, wait))
        raise AssertionError  # the loop returns or raises

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "the sender is opened by a block"  # noqa: S101
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            **self.endpoint.headers,
        }
        async with self._session.post(
            self.endpoint.url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            named = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, named, await answer.content.read(_LARGEST_ANSWER)

    def _backoff(self, tried: int, wait: float | None) -> float:
        if wait is not None:
            return wait
        # Full jitter: exporters that failed together don't come back together.
        longest = min(self.endpoint.longest_wait, 0.5 * 2.0**tried)
        return longest * random.uniform(0.5, 1)  # noqa: S311

    def _refused(self, problem: str) -> ExportRefused:
        return ExportRefused(f"{self.endpoint.name} took no spans: {problem}", _FIX)


def _clean(answer: bytes) -> str:
    """Return the words of an answer, if it has any that a person can read."""
    try:
        return f"({printable(answer[: 4 * _WORDS].decode('utf-8'), _WORDS)})" if answer else ""
    except UnicodeDecodeError:
        return ""


def _transport_errors() -> tuple[type[BaseException], ...]:
    import aiohttp  # noqa: PLC0415 - importing it is slow

    return (aiohttp.ClientError, asyncio.TimeoutError, OSError)
