"""The executor's HTTP session on aiohttp, opened at the first request."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from lmflow.errors import ModelFailed
from lmflow.models.base import Response, Stream
from lmflow.models.transport.responses import host_port

if TYPE_CHECKING:
    import aiohttp

LARGEST = 50_000_000


class Session:
    """One session for all requests of an executor: it keeps connections, and no cookies, so that no
    answer can change a later request. Nobody listens to its replies as they come.
    """

    hear: Callable[[str], None] | None = None

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """One JSON POST, without redirects. ``ModelFailed`` (unreachable, timeout, bad_reply) where
        no answer came.
        """
        try:
            async with self._posting(url, headers, body, _timeout(total=seconds)) as answer:
                return Response(answer.status, answer.headers, await _read(answer, url))
        except _lost() as error:
            raise _failure(error, url, seconds) from None

    @contextlib.asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[Stream]:
        """One JSON POST whose answer is read line by line, at most ``seconds`` between two. Fails
        as ``post`` does.
        """
        try:
            async with self._posting(url, headers, body, _timeout(sock_read=seconds)) as answer:
                yield Stream(answer.status, dict(answer.headers), _lines(answer, url))
        except _lost() as error:
            raise _failure(error, url, seconds) from None

    def _posting(
        self,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        timeout: aiohttp.ClientTimeout,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        import aiohttp  # noqa: PLC0415 - importing it is slow, and replay never needs it

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            shown = url.rpartition("@")[2]
            raise ModelFailed(
                "request", f"{shown!r} is no URL. Write it like http://127.0.0.1:8080/v1."
            )
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        data = msgspec.json.encode(body, enc_hook=dict)
        sent = {"Content-Type": "application/json", **headers}
        return self._session.post(
            url, data=data, headers=sent, timeout=timeout, allow_redirects=False
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None


@functools.lru_cache(maxsize=64)
def _timeout(total: float | None = None, sock_read: float | None = None) -> aiohttp.ClientTimeout:
    """The seconds for a whole answer, or between two pieces of it, as aiohttp takes them."""
    import aiohttp  # noqa: PLC0415 - see above

    return aiohttp.ClientTimeout(
        total=total, sock_read=sock_read, sock_connect=min(total or sock_read or 10, 10)
    )


@functools.cache
def _lost() -> tuple[type[Exception], ...]:
    """What is raised where no answer came, or not all of it."""
    import aiohttp  # noqa: PLC0415 - see above

    return TimeoutError, aiohttp.ClientError, OSError


def _failure(error: Exception, url: str, seconds: float) -> ModelFailed:
    if isinstance(error, TimeoutError):
        return ModelFailed("timeout", f"{host_port(url)} gave no answer within {seconds:g} s")
    words = f"{host_port(url)} can't be reached ({_cause(error)}). Is the server up, and the base URL right?"
    return ModelFailed("unreachable", words)


async def _read(answer: aiohttp.ClientResponse, url: str) -> bytes:
    body = await answer.content.read(LARGEST + 1)
    while chunk := await answer.content.read(LARGEST + 1):
        body += chunk
        if len(body) > LARGEST:
            raise ModelFailed(
                "bad_reply", f"{host_port(url)} answered with more than {LARGEST // 1_000_000} MB"
            )
    return body


async def _lines(answer: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    size, left = 0, b""
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > LARGEST:
            raise ModelFailed(
                "bad_reply", f"{host_port(url)} answered with more than {LARGEST // 1_000_000} MB"
            )
        *lines, left = (left + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if left:
        yield left


def _cause(error: BaseException) -> str:
    return str(getattr(error, "os_error", None) or error) or type(error).__name__
