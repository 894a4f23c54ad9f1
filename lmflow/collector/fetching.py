"""Fetches traces from servers: pages one after the other, or a file."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from lmflow.errors import TelemetryError
from lmflow.models.transport.retry_after import retry_seconds
from lmflow.telemetry.sources.pages import Ask, Document, Walk
from lmflow.values.printing import printable

if TYPE_CHECKING:
    import aiohttp

LARGEST_PAGE = 2**28
"""Bytes of a page; a larger one is refused."""

_OK = 200
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_CHUNK = 2**20
_WORDS = 200


@attrs.frozen
class Source:
    """A server that traces are fetched from.

    Args:
        url: The URL of the server, or of a file.
        keys: One key, which is sent as a bearer token, or a public and a secret one, sent as user
            and password. They go to this server alone, over TLS or on this machine.
        seconds: How long one request may take.
        tries: How often a request is sent before the import stops.
        longest_wait: The longest wait between two tries, in seconds.
    """

    url: str
    keys: Sequence[str] = attrs.field(default=(), repr=False)
    seconds: float = 60.0
    tries: int = 5
    longest_wait: float = 60.0

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise TelemetryError(f"{self.name!r} isn't an http(s) URL", "Write https://HOST.")
        if parts.username or parts.password:
            fix = "Name the variables of the environment that hold the keys: --key-env NAME."
            raise TelemetryError("a key in a URL is shown by every log", fix)
        if self.keys and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            fix = "Use https://, or leave out --key-env."
            raise TelemetryError(f"{self.name} would get the key in the clear", fix)

    @property
    def name(self) -> str:
        """The URL without user, password and query: what messages name it by."""
        parts = urlsplit(self.url)
        return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", _WORDS)

    @property
    def headers(self) -> dict[str, str]:
        """The header that authorizes; nothing without keys."""
        if not self.keys:
            return {}
        if len(self.keys) == 1:
            return {"Authorization": f"Bearer {self.keys[0]}"}
        pair = base64.b64encode(":".join(self.keys[:2]).encode()).decode("ascii")
        return {"Authorization": f"Basic {pair}"}


async def walked(source: Source, walk: Walk) -> AsyncIterator[Any]:
    """Yield the documents that a walk comes upon.

    Raises:
        TelemetryError: The server can't be reached, refuses, or answers with something else.
    """
    async with _session(source) as session:
        step = next(walk, None)
        while step is not None:
            answer = None
            if isinstance(step, Document):
                yield step.content
            else:
                answer = await _page(session, source, step)
            try:
                step = walk.send(answer)
            except StopIteration:
                step = None


async def download(source: Source, file: Path) -> None:
    """Write what a URL answers to a file.

    Raises:
        TelemetryError: The server can't be reached, or refuses.
    """
    async with _session(source) as session:
        try:
            async with session.get(source.url, allow_redirects=False) as answer:
                if answer.status != _OK:
                    raise _refused(source, f"it answered {answer.status}")
                with file.open("wb") as opened:
                    async for chunk in answer.content.iter_chunked(_CHUNK):
                        opened.write(chunk)
        except _transport_errors() as error:
            raise _refused(source, f"it can't be reached ({type(error).__name__})") from None


def _session(source: Source) -> aiohttp.ClientSession:
    import aiohttp  # noqa: PLC0415 - importing it is slow

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=source.seconds, sock_read=source.seconds
    )
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, headers=source.headers)


async def _page(session: aiohttp.ClientSession, source: Source, ask: Ask) -> Any:
    """Return the JSON of a page; transient failures are asked again."""
    for tries_left in range(source.tries - 1, -1, -1):
        wait = None
        try:
            status, headers, content = await _sent(session, source, ask)
        except _transport_errors() as error:
            problem = f"it can't be reached ({type(error).__name__})"
        else:
            if status == _OK:
                return _read(source, content)
            problem = f"it answered {status} to {ask.path}"
            if status not in _TRANSIENT:
                raise _refused(source, problem)
            wait = retry_seconds(headers, None, "")
        if not tries_left or (wait or 0.0) > source.longest_wait:
            raise _refused(source, problem)
        tried = source.tries - 1 - tries_left
        await asyncio.sleep(min(source.longest_wait, 0.5 * 2.0**tried) if wait is None else wait)
    raise AssertionError  # the loop returns or raises


async def _sent(
    session: aiohttp.ClientSession, source: Source, ask: Ask
) -> tuple[int, Mapping[str, str], bytes]:
    method = "GET" if ask.body is None else "POST"
    # No redirect is followed: it could take the key to another host.
    async with session.request(
        method,
        f"{source.url.rstrip('/')}{ask.path}",
        params=dict(ask.query),
        json=None if ask.body is None else dict(ask.body),
        allow_redirects=False,
    ) as answer:
        named = {name.lower(): value for name, value in answer.headers.items()}
        content = await answer.content.read(LARGEST_PAGE + 1)
        while chunk := await answer.content.read(_CHUNK):
            content += chunk
            if len(content) > LARGEST_PAGE:
                raise _refused(source, f"a page of it has more than {LARGEST_PAGE:,} bytes")
        return answer.status, named, content


def _read(source: Source, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _refused(source, "its answer isn't JSON") from None


def _refused(source: Source, problem: str) -> TelemetryError:
    fix = "Nothing was imported yet: run it again."
    return TelemetryError(f"{source.name} gave no more traces: {problem}", fix)


def _transport_errors() -> tuple[type[BaseException], ...]:
    import aiohttp  # noqa: PLC0415 - importing it is slow

    return (aiohttp.ClientError, asyncio.TimeoutError, OSError)
