"""A route to one URL: sends each POST over a pooled connection with a head that was made once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from lmflow.models.base import Response

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    Answer = tuple[aiohttp.http.RawResponseMessage, aiohttp.StreamReader]
    """The status and headers of an answer, and the reader of its body."""

# aiohttp frames or connects in another way because of these, so its session has to send them.
_FRAMING = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "transfer-encoding",
        "upgrade",
    }
)
_INTERIM = frozenset(range(100, 200)) - {101}  # after 101 no other answer comes


class TooLarge(Exception):
    """An answer has more bytes than the caller takes."""


@attrs.frozen(eq=False)
class Route:
    """The requests to one URL with equal headers, over the connections of aiohttp's own pool.

    aiohttp's session makes every request anew: its URL, headers, cookies, timers and writer, which
    is three quarters of a request's cost. A route makes that once. Connections, TLS, the parser and
    decompression stay aiohttp's, and so do the bytes on the wire and the errors.
    """

    connector: aiohttp.BaseConnector
    request: aiohttp.ClientRequest
    head: bytes
    timeout: aiohttp.ClientTimeout
    largest: int

    async def post(self, body: bytes, seconds: float) -> Response:
        """Send one body and read the whole answer.

        Args:
            body: The body.
            seconds: The most that all of it may take, connecting included.

        Returns:
            The status, headers and body of the answer, whatever the status is.

        Raises:
            TimeoutError: It took longer.
            aiohttp.ClientError: No answer, or only a part of one, arrived.
            TooLarge: The answer has more bytes than ``largest``.
        """
        async with asyncio.timeout(seconds):
            connection = await self.connector.connect(self.request, [], self.timeout)
            with _lent(connection):
                message, content = await self._exchange(connection, body)
                return Response(message.code, message.headers, await self._read(content))

    @contextlib.asynccontextmanager
    async def stream(self, body: bytes, seconds: float) -> AsyncIterator[Answer]:
        """Send one body and give the beginning of the answer, whose rest is read in the block.

        Args:
            body: The body.
            seconds: The most that sending may take until the answer begins, connecting included,
                and that may pass between two pieces of it.

        Yields:
            The status and headers of the answer, and the reader of its body.

        Raises:
            TimeoutError: It took longer.
            aiohttp.ClientError: No answer, or only a part of one, arrived.
        """
        with contextlib.ExitStack() as stack:
            async with asyncio.timeout(seconds):
                connection = await self.connector.connect(self.request, [], self.timeout)
                stack.enter_context(_lent(connection))
                answer = await self._exchange(connection, body, seconds)
            yield answer

    async def _exchange(
        self, connection: Connection, body: bytes, silence: float | None = None
    ) -> Answer:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise ConnectionResetError("the connection was closed")
        protocol.set_response_params(read_until_eof=True, read_timeout=silence)
        transport.write(b"%s%d\r\n\r\n%s" % (self.head, len(body), body))
        return await self._answer(protocol)

    async def _answer(self, protocol: ResponseHandler) -> Answer:
        while True:
            try:
                message, content = await protocol.read()
            except Exception as error:
                raise _as_of_session(error, self.request) from error
            # Interim answers (100 Continue, 103 Early Hints) come before the one that counts.
            if message.code not in _INTERIM:
                return message, content

    async def _read(self, content: aiohttp.StreamReader) -> bytes:
        if content.is_eof() and content.exception() is None:
            body: bytes = content.read_nowait(-1)
            if len(body) > self.largest:
                raise TooLarge
            return body
        return await read_body(content, self.largest)


async def read_body(content: aiohttp.StreamReader, largest: int) -> bytes:
    """Read a body to its end. Raises ``TooLarge`` once it has more than ``largest`` bytes."""
    # Joined once at the end: adding each piece to the ones before takes quadratically long.
    pieces, size = list[bytes](), 0
    while chunk := await content.read(largest + 1):
        pieces.append(chunk)
        size += len(chunk)
        if size > largest:
            raise TooLarge
    return b"".join(pieces)


def route(
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,
    largest: int,
) -> Route | None:
    """Make the route of a URL and headers that a session would send a POST with.

    Args:
        session: The session; the route shares its connections.
        url: The URL.
        headers: All headers but those that aiohttp adds.
        timeout: How long connecting may take.
        largest: The most bytes of an answer.

    Returns:
        The route; ``None`` if the session itself must send such requests: the URL has credentials,
        or a header changes how a request is framed.
    """
    import aiohttp  # noqa: PLC0415 - importing it is slow, and replay never needs it
    from multidict import CIMultiDict  # noqa: PLC0415 - aiohttp brings it, and yarl
    from yarl import URL  # noqa: PLC0415

    where = URL(url)
    if where.user or where.password or session.connector is None:
        return None
    if not _FRAMING.isdisjoint(name.lower() for name in headers):
        return None
    loop = asyncio.get_running_loop()
    # As in the session, of names that differ in case alone the last one counts.
    merged = CIMultiDict[str]()
    for name, value in headers.items():
        merged[name] = value
    # A request without a body has aiohttp's own headers: what it sends before Content-Length.
    request = aiohttp.ClientRequest("POST", where, headers=merged, loop=loop)
    lines = [f"POST {where.raw_path_qs} HTTP/1.1"]
    lines += [
        f"{name}: {value}"
        for name, value in request.headers.items()
        if name.lower() not in _FRAMING - {"host"}
    ]
    head = "\r\n".join([*lines, "Content-Length: "]).encode()
    return Route(session.connector, request, head, timeout, largest)


def _as_of_session(error: Exception, request: aiohttp.ClientRequest) -> Exception:
    """The error that aiohttp's session raises in place of one of its parser."""
    from aiohttp import ClientResponseError, http  # noqa: PLC0415 - importing it is slow

    if not isinstance(error, http.HttpProcessingError):
        return error
    status, words, headers = error.code, error.message, error.headers
    info = request.request_info
    return ClientResponseError(info, (), status=status, message=words, headers=headers)


# A connection whose answer was not read to its end, because of an error or since the caller was
# cancelled, would give the rest of it to the next request: it is closed.
@contextlib.contextmanager
def _lent(connection: Connection) -> Iterator[None]:
    """Give a connection back to its pool after the block; close it if the block raises."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
    connection.release()
