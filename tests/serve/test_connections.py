"""The laws of connections: clients that only wait shut nobody out, and odd bytes are a line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

import lmflow as lf
from lmflow.serve.connections import RESERVED, Connection, ConnectionTable, connection_factory
from lmflow.serve.limits import Limits
from lmflow.serve.requests import OPEN
from lmflow.serve.results import AccessRecord, no_log
from lmflow.serve.service import Service, make_offers
from lmflow.serve.web import application

BODY = b'{"question": "x"}'
RUN = (
    b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"POST /run HTTP/1.1\r\nHost: localhost\r\nX: "


class Client:
    """A connection of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def status(self, request: bytes) -> int:
        """Send a request and return the status of its answer; 0 if the server hung up."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(request)
            line = await asyncio.wait_for(self.reader.readline(), 5)
            return int(line.split()[1]) if line else 0
        return 0

    async def ended(self) -> bool:
        """Wait until the server has hung up."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        return True


class Server:
    """A server on a free port, and its access log."""

    def __init__(self, port: int, table: ConnectionTable, log: list[AccessRecord]) -> None:
        self.port, self.table, self.log = port, table, log
        self.clients: list[Client] = []

    async def client(self) -> Client:
        """Open a connection."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client


@contextlib.asynccontextmanager
async def serving(
    hold: asyncio.Event | None = None, *, connections: int = 20, header_timeout: float = 5.0
) -> AsyncIterator[Server]:
    """Serve a program that answers at once, or when ``hold`` is set."""

    async def answer(question: str) -> str:
        if hold is not None:
            await hold.wait()
        return question

    echo = lf.tool("echo", "question -> answer", answer, version="1")
    limits = Limits(connections=connections, header_timeout=header_timeout)
    log: list[AccessRecord] = []
    async with lf.Executor(lf.scripted([])) as ex:
        service = Service(make_offers(echo, ex, None, None), limits)
        runner = web.AppRunner(application(service, OPEN, log.append), handler_cancellation=True)
        await runner.setup()
        table = ConnectionTable.of(limits, log.append)
        assert runner.server is not None
        factory = connection_factory(table, runner.server)
        listener = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        server = Server(listener.sockets[0].getsockname()[1], table, log)
        try:
            yield server
        finally:
            if hold is not None:
                hold.set()
            listener.close()
            for client in server.clients:
                client.writer.close()
            await runner.cleanup()


async def test_idle_clients_shut_nobody_out() -> None:
    """However many clients never end their headers, an honest request is answered at once."""
    async with serving(connections=20) as server:
        idle = [await server.client() for _ in range(200)]
        for client in idle:
            client.writer.write(HALF)
        honest = await server.client()
        assert 200 == await asyncio.wait_for(honest.status(RUN), 1)
        assert len(server.table.open) <= 20 + RESERVED


async def test_slow_headers_end() -> None:
    """A client that dribbles its headers has no longer for them than one that sends nothing."""
    async with serving(header_timeout=0.2) as server:
        silent, slow = await server.client(), await server.client()
        for _ in range(10):
            with contextlib.suppress(ConnectionError):
                slow.writer.write(b"X")
            await asyncio.sleep(0.05)
        assert (True, True) == (await silent.ended(), await slow.ended())
        assert 0 == len(server.table.open)


async def test_a_kept_connection_may_ask_again() -> None:
    """The time for headers begins with the first piece of a request, not with the last answer."""
    async with serving(header_timeout=0.1) as server:
        client = await server.client()
        assert 200 == await client.status(HEALTH)
        await asyncio.sleep(0.3)
        await client.reader.readuntil(b"\r\n\r\n")
        await client.reader.readuntil(b"}")
        assert 200 == await client.status(RUN)


async def test_a_full_server_says_so_and_stays_healthy() -> None:
    """If each connection has a request, further ones get a 503, and /healthz its answer."""
    hold = asyncio.Event()
    async with serving(hold, connections=3) as server:
        busy = [await server.client() for _ in range(3)]
        for client in busy:
            client.writer.write(RUN)
        await asyncio.sleep(0.1)
        late, probe = await server.client(), await server.client()
        assert (503, 200) == (await late.status(RUN), await probe.status(HEALTH))
        hold.set()
        assert [b"200"] * 3 == [(await client.reader.readline()).split()[1] for client in busy]


class Busy(Connection):
    """A connection on which a request is always answered."""

    def __init__(self) -> None:
        self.reserved = False

    @property
    def idle(self) -> bool:
        """It never is."""
        return False


def test_beyond_the_reserve_nobody_is_admitted() -> None:
    """A table of busy connections takes as many as its limit and its reserve, and no more."""
    table = ConnectionTable(2, 1.0, no_log)
    connections = [Busy() for _ in range(2 + RESERVED + 1)]
    assert [True] * (2 + RESERVED) + [False] == list(map(table.admit, connections))
    assert [False] * 2 + [True] * RESERVED == [each.reserved for each in connections[:-1]]


@pytest.mark.parametrize(
    "malformed",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /run HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /run HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\x00: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
    ],
)
async def test_malformed_requests_are_a_line(
    malformed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """They get a problem and a line of the access log, and no traceback anywhere."""
    with caplog.at_level(logging.INFO):
        async with serving() as server:
            client = await server.client()
            assert 400 == await client.status(malformed)
            _, _, body = (await client.reader.read()).partition(b"\r\n\r\n")
            assert "malformed" == json.loads(body)["error"]
            assert ["malformed"] == [record.error for record in server.log]
    assert [] == caplog.records
