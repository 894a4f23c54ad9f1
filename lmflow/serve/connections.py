"""The connections of a server: how many there may be, and how long a client may stay silent.

A connection that waits for a request costs a file descriptor and nothing else, so a client that
opens many of them can use up all that the process has. The server therefore keeps its own count:
when it is full, the connection that has gone longest without a request makes room for a new one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import attrs
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from lmflow.errors import Refused
from lmflow.serve.limits import Limits
from lmflow.serve.problems import problem_of
from lmflow.serve.responses import problem_response
from lmflow.serve.results import AccessLog, AccessRecord

RESERVED = 8
"""Connections beyond the limit, which are open for ``/healthz`` alone."""

_OTHER_FILES = 128
"""File descriptors that the process needs for its store, its models and its clients' programs."""

_KEEP_ALIVE_SECONDS = 75.0
_HEALTH = "/healthz"
_FULL = b"the server has no room for another connection. Try again in 1 s."
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


def raise_file_limit(limit: int) -> int:
    """Raise this process's soft limit of open files as far as the connections need.

    Args:
        limit: The connections that a server should be able to hold.

    Returns:
        The connections that it can hold: less if the system's own limit is lower.
    """
    if sys.platform == "win32":
        return limit  # it has no such limit
    import resource  # noqa: PLC0415 - a module of POSIX systems

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limit + RESERVED + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return limit
    return max(1, min(limit, soft - RESERVED - _OTHER_FILES))


@attrs.define(eq=False)
class ConnectionTable:
    """The open connections of one server.

    Attributes:
        limit: The most connections; ``RESERVED`` more are open for ``/healthz``.
        header_timeout: The seconds that a client has for the line and headers of a request.
        log: Takes a record of each malformed request.
        open: The connections, the one whose last request is longest ago first.
    """

    limit: int
    header_timeout: float
    log: AccessLog
    open: dict[Connection, None] = attrs.field(factory=dict)

    @classmethod
    def of(cls, limits: Limits, log: AccessLog) -> ConnectionTable:
        """Make the empty table of a server with these limits."""
        return cls(raise_file_limit(limits.connections), limits.header_timeout, log)

    def admit(self, connection: Connection) -> bool:
        """Count a new connection, and make room for it if there is none. Return whether it may
        stay.
        """
        if len(self.open) >= self.limit:
            self._make_room(reserved=False)
        if len(self.open) >= self.limit + RESERVED:
            self._make_room(reserved=True)
        if len(self.open) >= self.limit + RESERVED:
            return False
        connection.reserved = len(self.open) >= self.limit
        self.open[connection] = None
        return True

    def note_request(self, connection: Connection) -> None:
        """Put a connection last, since it has a request."""
        if self.open.pop(connection, connection) is None:
            self.open[connection] = None

    def forget(self, connection: Connection) -> None:
        """Drop a closed connection from the table."""
        self.open.pop(connection, None)

    def _make_room(self, *, reserved: bool) -> None:
        """Drop the connection that has gone longest without a request, if there is one."""
        for connection in self.open:
            if connection.idle and connection.reserved == reserved:
                connection.drop()
                return


class Connection(web.RequestHandler):
    """A client's connection, as aiohttp serves it, within the limits of a table."""

    def __init__(self, table: ConnectionTable, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reserved = False
        self._table = table
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is answered on it."""
        return self._current_request is None and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the client if there is room, else answer 503 at once."""
        super().connection_made(transport)
        if self._table.admit(self):
            self._limit_wait()
        elif isinstance(transport, asyncio.Transport):
            transport.write(_REFUSAL)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the client."""
        self._end_wait()
        self._table.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request; whole headers end the wait for them."""
        requests_before = self._request_count
        super().data_received(data)
        if self._request_count > requests_before:
            self._end_wait()
            self._table.note_request(self)
        elif self.idle and self._timer is None:
            self._limit_wait()  # the first piece of the next request on a connection that was kept

    def drop(self) -> None:
        """Close a connection that has no request."""
        self._end_wait()
        self._table.forget(self)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request with a problem and a line of the log, without a traceback."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        self._table.log(AccessRecord("malformed", 400, 0.0, "malformed"))
        refusal = Refused("malformed", "the request is not HTTP/1.1 that this server understands.")
        response = problem_response(problem_of(refusal))
        response.force_close()
        return response

    def _limit_wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._table.header_timeout, self.drop)

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def check_reserved(request: web.Request) -> None:
    """Refuse what a reserved connection is not for.

    Raises:
        Refused: The server is full, and the request is not for ``/healthz``.
    """
    connection = request.protocol
    if not isinstance(connection, Connection) or not connection.reserved:
        return
    if not request.path.endswith(_HEALTH):
        raise Refused("full", _FULL.decode(), 1)


def connection_factory(table: ConnectionTable, server: web.Server) -> Callable[[], Connection]:
    """Return what makes the protocol of each connection of a server."""
    loop = asyncio.get_running_loop()

    def connect() -> Connection:
        return Connection(
            table, server, loop=loop, access_log=None, keepalive_timeout=_KEEP_ALIVE_SECONDS
        )

    return connect
