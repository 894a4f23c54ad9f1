"""The law of the pool: a connection on which bytes came while it was idle is not used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme
from raw_http import Answer, plain, raw_server

from lmflow.errors import ModelFailed
from lmflow.models.transport.http import HttpSession

KEY = {"Authorization": "Bearer secret"}
LONG = 20_000_000
BY_SESSION = {"Connection": "keep-alive", **KEY}
Ask = Callable[[HttpSession, str, dict[str, str], float], Awaitable[bytes]]
STALE = plain(b"stale")
LATE: dict[str, list[bytes | float]] = {
    "a whole answer": [0.02, STALE],
    "the head of one": [0.02, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    "what isn't HTTP": [0.02, b"stale"],
    "two in pieces": [0.02, STALE[:9], 0.01, STALE[9:] + STALE],
}


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """A session that is closed at the end."""
    found = HttpSession()
    yield found
    await found.close()


async def _post(session: HttpSession, url: str, body: dict[str, str], seconds: float) -> bytes:
    return (await session.post(url, KEY, body, seconds)).body


async def _by_session(
    session: HttpSession, url: str, body: dict[str, str], seconds: float
) -> bytes:
    return (await session.post(url, BY_SESSION, body, seconds)).body


async def _streamed(session: HttpSession, url: str, body: dict[str, str], seconds: float) -> bytes:
    async with session.stream(url, KEY, body, seconds) as answer:
        return b"".join([line async for line in answer.lines])


def _received(connection: socket.socket) -> int:
    """Read to the end what was sent on a connection; return the number of bytes."""
    size = 0
    with connection:
        connection.settimeout(5.0)
        while piece := connection.recv(2**20):
            size += len(piece)
    return size


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
@pytest.mark.parametrize("headers", [KEY, BY_SESSION], ids=["route", "session"])
async def test_bytes_for_nobody_are_no_answer(
    session: HttpSession, late: list[bytes | float], headers: dict[str, str]
) -> None:
    """What comes after an answer, while nobody asks, is never the answer to the next request."""
    async with raw_server(Answer([plain(b"first"), *late]), Answer([plain(b"second")])) as server:
        first = await session.post(server.url, headers, {}, 2.0)
        await asyncio.sleep(0.08)
        second = await session.post(server.url, headers, {}, 2.0)
    assert (b"first", b"second", 2) == (first.body, second.body, server.connections)


async def test_a_stream_begins_with_its_own_bytes(session: HttpSession) -> None:
    """Streams take connections of the same pool, and no other answer's bytes."""
    late = Answer([plain(b"first"), 0.02, STALE])
    async with raw_server(late, Answer([plain(b"second")])) as server:
        await session.post(server.url, KEY, {}, 2.0)
        await asyncio.sleep(0.06)
        assert b"second" == await _streamed(session, server.url, {}, 2.0)


async def test_bytes_that_the_loop_has_not_read_are_seen(session: HttpSession) -> None:
    """A stale answer may still be in the socket when the next request takes the connection."""
    late = Answer([plain(b"first"), 0.02, STALE])
    async with raw_server(late, Answer([plain(b"second")])) as server:
        await session.post(server.url, KEY, {}, 2.0)
        _pooled(session).pause_reading()  # a busy loop: bytes arrive, and nobody reads them
        await asyncio.sleep(0.06)
        second = await session.post(server.url, KEY, {}, 2.0)
    assert (b"second", 2) == (second.body, server.connections)


def _pooled(session: HttpSession) -> asyncio.ReadTransport:
    assert session._session is not None
    assert session._session.connector is not None
    ((pooled,),) = session._session.connector._conns.values()
    transport = pooled[0].transport
    assert transport is not None
    return transport


@pytest.mark.parametrize("tls", [False, True])
async def test_a_clean_connection_is_used_again(*, tls: bool) -> None:
    """One connection carries request after request, over TLS as well."""
    serving, asking = _contexts() if tls else (None, None)
    session = HttpSession(asking)
    async with raw_server(Answer([plain(b"a")]), tls=serving) as server:
        for _ in range(5):
            await session.post(server.url, KEY, {}, 2.0)
            await asyncio.sleep(0.01)
        await session.close()
    assert 1 == server.connections


async def test_a_post_is_sent_once(session: HttpSession) -> None:
    """If the server closes a kept connection at a request, nobody sends it a second time."""
    ends = [Answer([plain(b"a")]), Answer([], "close"), Answer([plain(b"b")])]
    async with raw_server(*ends) as server:
        await session.post(server.url, KEY, {}, 2.0)
        with pytest.raises(ModelFailed, match="can't be reached"):
            await session.post(server.url, KEY, {}, 2.0)
    assert (2, 1) == (len(server.bodies), server.connections)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("ask", [_post, _by_session, _streamed], ids=["post", "session", "stream"])
async def test_a_server_that_reads_nothing_is_a_timeout(session: HttpSession, ask: Ask) -> None:
    """A long request that a server doesn't read is bounded too, streamed or not."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(ModelFailed) as caught:
            await asyncio.wait_for(ask(session, url, {"q": "a" * LONG}, 0.2), 5.0)
        assert "timeout" == caught.value.kind
        # The rest is dropped: nothing waits for a server that may never read.
        assert _received(deaf.accept()[0]) < LONG


async def _read_into(
    lines: list[bytes], session: HttpSession, url: str, headers: dict[str, str]
) -> None:
    async with session.stream(url, headers, {}, 0.3) as answer:
        async for line in answer.lines:
            lines.append(line)  # noqa: PERF401 - what was read before it fails


@pytest.mark.parametrize("headers", [KEY, BY_SESSION], ids=["route", "session"])
async def test_silence_in_a_stream_is_a_timeout(
    session: HttpSession, headers: dict[str, str]
) -> None:
    """A stream may take as long as it makes progress, and is ended when it makes none."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
    pieces: list[bytes | float] = [b"a\n", 0.15]
    slow = Answer([head, *pieces * 3, b"a\n"])
    lines: list[bytes] = []
    async with raw_server(slow, Answer([head, b"a\n", 1.0])) as server:
        async with session.stream(server.url, headers, {}, 0.3) as answer:
            assert [b"a"] * 4 == [line async for line in answer.lines if line]
        with pytest.raises(ModelFailed) as caught:
            await _read_into(lines, session, server.url, headers)
    assert ("timeout", [b"a"]) == (caught.value.kind, lines)


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    asking = ssl.create_default_context()
    authority.configure_trust(asking)
    return serving, asking
