"""The executor's HTTP session on aiohttp, opened at the first request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from lmflow.errors import ModelFailed
from lmflow.models.base import Response, Stream
from lmflow.models.transport.addresses import host_port
from lmflow.models.transport.routes import Route, TooLarge, read_body, route
from lmflow.values.unicode import well_formed

if TYPE_CHECKING:
    from ssl import SSLContext

    import aiohttp

LARGEST_BODY = 50_000_000
"""How many bytes an answer may have."""
_CONNECT_SECONDS = 10
_MOST_ROUTES = 64
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class HttpSession:
    """Sends all requests of an executor over kept connections, without cookies: no answer can
    change a later request. Nobody listens to the replies as they arrive.

    ``ssl`` is the TLS context of all connections; the system's certificates if ``None``.
    """

    hear: Callable[[str], None] | None = None

    def __init__(self, ssl: SSLContext | None = None) -> None:
        self._ssl = ssl
        self._session: aiohttp.ClientSession | None = None
        self._routes: dict[tuple[str, tuple[tuple[str, str], ...]], Route | None] = {}

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """The answer to one JSON POST; redirects aren't followed. ``ModelFailed`` (unreachable,
        timeout, bad_reply) if no whole answer arrives.
        """
        try:
            if (known := self._route(url, headers)) is not None:
                return await known.post(_encoded(body), seconds)
            async with self._open(url, headers, body, _timeout(total=seconds)) as answer:
                read = await read_body(answer.content, LARGEST_BODY)
                return Response(answer.status, answer.headers, read)
        except TooLarge:
            raise _too_large(url) from None
        except _transport_errors() as error:
            raise _failure(error, url, seconds) from None

    @contextlib.asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[Stream]:
        """Sends one JSON POST and reads the answer line by line, at most ``seconds`` apart. Fails
        as ``post`` does.
        """
        # A bound on the whole stream would cut long replies that still make progress, so only the
        # silence between two reads is bounded. A cancelled caller leaves the block, which closes
        # the connection: the server stops generating, and nothing is paid for unread tokens.
        try:
            async with contextlib.AsyncExitStack() as stack:
                if (known := self._route(url, headers)) is not None:
                    opened = known.stream(_encoded(body), seconds)
                    message, content = await stack.enter_async_context(opened)
                    yield Stream(message.code, dict(message.headers), _lines(content, url))
                    return
                # aiohttp bounds what it reads alone: a server may never read a long request.
                async with asyncio.timeout(seconds):
                    asked = self._open(url, headers, body, _timeout(sock_read=seconds))
                    answer = await stack.enter_async_context(asked)
                yield Stream(answer.status, dict(answer.headers), _lines(answer.content, url))
        except _transport_errors() as error:
            raise _failure(error, url, seconds) from None

    def _route(self, url: str, headers: Mapping[str, str]) -> Route | None:
        """The route of a URL and headers; ``None`` if the session itself has to send."""
        key = (url, tuple(headers.items()))
        if key not in self._routes:
            # Headers that differ with every request must not fill the memory.
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            session, sent = self._checked(url, headers), _all_headers(headers)
            self._routes[key] = route(session, url, sent, _timeout(), LARGEST_BODY)
        return self._routes[key]

    def _open(
        self,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        timeout: aiohttp.ClientTimeout,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._checked(url, headers).post(
            url,
            data=_encoded(body),
            headers=_all_headers(headers),
            timeout=timeout,
            allow_redirects=False,
        )

    def _checked(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        """The session, once a URL and headers can be sent. Raises ``ModelFailed`` if they can't."""
        import aiohttp  # noqa: PLC0415 - importing it is slow, and replay never needs it

        from lmflow.models.transport.connector import Connector  # noqa: PLC0415 - it imports it

        _check_url(url)
        _check_headers(headers, host_port(url))
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(self._ssl), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def close(self) -> None:
        """Closes the connections; the next request opens new ones."""
        self._routes.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def drop(self) -> None:
        """Forgets the connections of an event loop that is closed: nothing can close them there."""
        self._routes.clear()
        if self._session is not None:
            self._session.detach()
            self._session = None


def _all_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {"Content-Type": "application/json", **headers}


def _check_url(url: str) -> None:
    """``ModelFailed`` if requests can't be sent to a URL. Its credentials aren't shown."""
    from yarl import URL  # noqa: PLC0415 - aiohttp brings it

    try:
        host = urlsplit(url).hostname and URL(url).raw_host
        sendable = urlsplit(url).scheme in {"http", "https"} and bool(host)
        (host or "").encode("idna")  # as looking up its address does
    except ValueError:  # a port that isn't a number, an open bracket, a label of 70 characters
        sendable = False
    if not sendable:
        shown = url.rpartition("@")[2].partition("?")[0]
        raise ModelFailed(
            "request", f"{shown!r} is not a URL. Write it like http://127.0.0.1:8080/v1."
        )


def _check_headers(headers: Mapping[str, str], server: str) -> None:
    """``ModelFailed`` if a header can't be sent. Its value isn't shown: it may be the key."""
    for name, value in headers.items():
        if _UNSENDABLE.search(name + value):
            words = f"the header {name!a} holds a line end or a control character"
            fix = "Set the key to the key alone."
            raise ModelFailed("auth", f"{server} wasn't asked: {words}. {fix}")


def _encoded(body: Mapping[str, Any]) -> bytes:
    """The JSON of a body. Lone surrogates, which have no UTF-8, become U+FFFD: messages have none,
    but a tool's description or an option may.
    """
    try:
        return msgspec.json.encode(body, enc_hook=dict)
    except UnicodeEncodeError:
        return well_formed(json.dumps(body, ensure_ascii=False, default=dict)).encode()


@functools.lru_cache(maxsize=64)
def _timeout(total: float | None = None, sock_read: float | None = None) -> aiohttp.ClientTimeout:
    """The seconds for a whole answer, or between two pieces of it, in aiohttp's form."""
    import aiohttp  # noqa: PLC0415 - see above

    # A server that is down must not take the whole timeout of a long reply to be noticed.
    connect = min(total or sock_read or _CONNECT_SECONDS, _CONNECT_SECONDS)
    return aiohttp.ClientTimeout(total=total, sock_read=sock_read, sock_connect=connect)


@functools.cache
def _transport_errors() -> tuple[type[Exception], ...]:
    """The exceptions that aiohttp raises if no answer, or only a part of it, arrived."""
    import aiohttp  # noqa: PLC0415 - see above

    return TimeoutError, aiohttp.ClientError, OSError


def _failure(error: Exception, url: str, seconds: float) -> ModelFailed:
    server = host_port(url)
    if isinstance(error, TimeoutError):
        fix = "Raise the model's timeout, or ask for less at once."
        return ModelFailed("timeout", f"{server} gave no answer within {seconds:g} s. {fix}")
    fix = "Is the server up, and the base URL right?"
    return ModelFailed("unreachable", f"{server} can't be reached ({_cause(error)}). {fix}")


async def _lines(content: aiohttp.StreamReader, url: str) -> AsyncIterator[bytes]:
    size, begun = 0, list[bytes]()
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise _too_large(url)
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for line in others:
            yield b"".join(begun).removesuffix(b"\r")
            begun = [line]
    if rest := b"".join(begun):
        yield rest


def _too_large(url: str) -> ModelFailed:
    limit = LARGEST_BODY // 1_000_000
    problem = f"{host_port(url)} answered with more than {limit} MB"
    return ModelFailed("bad_reply", f"{problem}. Is its base URL right?")


def _cause(error: BaseException) -> str:
    import aiohttp  # noqa: PLC0415 - see above

    # The words of this one name the whole URL, and the query of a URL may hold a key.
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status}, {error.message}"
    return str(getattr(error, "os_error", None) or error) or type(error).__name__
