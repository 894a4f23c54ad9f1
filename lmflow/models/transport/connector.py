"""A pool of connections that never lends one on which bytes arrived while nobody used it."""

from __future__ import annotations

import select
import weakref
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """aiohttp's pool without a limit, whose connections are checked before they are used again.

    aiohttp parses bytes that arrive on an idle connection, and gives a whole answer among them to
    the next request, which then has the reply to another one. Such bytes come from servers that
    count the length of a body wrong. The socket is looked at as well: an answer, or the end of the
    connection, may have arrived there that the event loop has not read yet.
    """

    def __init__(self, ssl: SSLContext | None = None) -> None:
        super().__init__(limit=0, ssl=ssl or True)
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp names it
    ) -> Connection:
        """Lend a connection: a clean one of the pool, else a new one."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            # The socket of a new connection may hold the tickets that TLS sends first.
            if protocol is None or protocol not in self._used:
                break
            if not protocol.should_close and not _is_readable(connection):
                return connection
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        """Take a connection back. One on which a part of a request still waits to be sent is ended
        at once: closed, it would stay open until a server that doesn't read ends.
        """
        transport = protocol.transport
        unsent = transport is not None and transport.get_write_buffer_size() > 0
        super()._release(key, protocol, should_close=should_close or unsent)
        if unsent and transport is not None:
            transport.abort()


def _is_readable(connection: Connection) -> bool:
    """Tell whether the socket has bytes, or the end of the connection, that nobody has read."""
    transport = connection.transport
    found = None if transport is None else transport.get_extra_info("socket")
    if found is None or found.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([found], [], [], 0)[0])  # Windows, where any number is allowed
    poll = select.poll()  # `select` refuses descriptors from 1024 on
    poll.register(found.fileno(), select.POLLIN)
    return bool(poll.poll(0))
