"""The law of routes: what a route sends, gives, fails with and keeps open is what aiohttp's session
does, whatever the server answers.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Self

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_http import Answer, RawServer, plain, raw_server

from lmflow.errors import ModelFailed
from lmflow.models.transport.http import HttpSession

KEY = {"Authorization": "Bearer secret"}
BY_SESSION = {"Connection": "keep-alive", **KEY}
"""A header that a route doesn't send, so that the session sends the request itself."""

GZIP = b"Content-Encoding: gzip"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
PACKED = gzip.compress(b'{"packed": true}' * 50)

ANSWERS: dict[str, Answer] = {
    "with a length": Answer([plain(b'{"a": 1}')]),
    "without a body": Answer([plain(b"")]),
    "in slow pieces": Answer(
        [b"HTTP/1.1 200", 0.02, b" OK\r\nContent-Le", 0.02, b"ngth: 2\r\n\r\nab"]
    ),
    "chunked": Answer([CHUNKED + b"\r\n3\r\nabc\r\n2\r\n", b"de\r\n0\r\n\r\n"]),
    "chunked with a trailer": Answer([CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"]),
    "gzip": Answer([plain(PACKED, "200 OK", GZIP)]),
    "deflate": Answer([plain(zlib.compress(b"abc"), "200 OK", b"Content-Encoding: deflate")]),
    "gzip in chunks": Answer(
        [CHUNKED + GZIP + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PACKED), PACKED)]
    ),
    "gzip that isn't": Answer([plain(b"not packed", "200 OK", GZIP)]),
    "gzip cut short": Answer([plain(PACKED[:20], "200 OK", GZIP)]),
    "unknown encoding": Answer([plain(b"abc", "200 OK", b"Content-Encoding: rot13")]),
    "HTTP/1.0 until the end": Answer([b"HTTP/1.0 200 OK\r\n\r\nabc"], "close"),
    "HTTP/1.0 kept": Answer(
        [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na"]
    ),
    "until the end": Answer([b"HTTP/1.1 200 OK\r\n\r\nabc"], "close"),
    "after 100": Answer([b"HTTP/1.1 100 Continue\r\n\r\n", plain(b"abc")]),
    "after 103 twice": Answer([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2, plain(b"a")]),
    "099": Answer([plain(b"abc", "099 Below")]),
    "101": Answer(
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]
    ),
    "204": Answer([b"HTTP/1.1 204 No Content\r\n\r\n"]),
    "304 with a length": Answer([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"]),
    "a redirect": Answer([plain(b"there", "307 Temporary Redirect", b"Location: /elsewhere")]),
    "an error": Answer([plain(b'{"error": "busy"}', "429 Too Many Requests", b"Retry-After: 2")]),
    "closed afterwards": Answer([plain(b"abc", "200 OK", b"Connection: close")], "close"),
    "closed in silence": Answer([plain(b"abc")], "close"),
    "a cookie": Answer([plain(b"abc", "200 OK", b"Set-Cookie: seen=1")]),
    "equal headers": Answer([plain(b"abc", "200 OK", b"X-A: 1", b"x-a: 2")]),
    "a long header": Answer([plain(b"abc", "200 OK", b"X-A: " + b"a" * 8000)]),
    "too long a header": Answer([plain(b"abc", "200 OK", b"X-A: " + b"a" * 9000)]),
    "too many headers": Answer([plain(b"abc", "200 OK", *[b"X-%d: 1" % n for n in range(300)])]),
    "a header in Latin-1": Answer([plain(b"abc", "200 OK", b"X-A: \xe9")]),
    "a folded header": Answer([plain(b"abc", "200 OK", b"X-A: a\r\n b")]),
    "a header without a colon": Answer([plain(b"abc", "200 OK", b"X-A")]),
    "two lengths": Answer([plain(b"abc", "200 OK", b"Content-Length: 2")]),
    "a length below 0": Answer([b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc"]),
    "a length and chunks": Answer([plain(b"0\r\n\r\n", "200 OK", b"Transfer-Encoding: chunked")]),
    "a bad chunk": Answer([CHUNKED + b"\r\nzz\r\nabc\r\n"]),
    "no HTTP": Answer([b"220 smtp ready\r\n\r\n"]),
    "no status": Answer([b"HTTP/1.1 abc\r\n\r\n"]),
    "bytes after the answer": Answer([plain(b"abc") + b"HTTP/1.1 200 OK\r\n"]),
    "two answers": Answer([plain(b"abc") + plain(b"stale")]),
    "half a body": Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], "close"),
    "half of the chunks": Answer([CHUNKED + b"\r\n9\r\nabc"], "close"),
    "half a head": Answer([b"HTTP/1.1 200 OK\r\nConte"], "close"),
    "nothing": Answer([], "close"),
    "a reset": Answer([], "reset"),
    "a reset within the body": Answer(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 0.02], "reset"
    ),
}


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """A session that is closed at the end."""
    found = HttpSession()
    yield found
    await found.close()


def _route_of(session: HttpSession) -> object:
    (route,) = session._routes.values()
    return route


async def _outcome(session: HttpSession, server: RawServer, headers: dict[str, str]) -> object:
    """What comes of one request: the answer, or the failure in words without the port."""
    try:
        answer = await session.post(server.url, headers, {"q": 1}, 2.0)
    except ModelFailed as error:
        return error.kind, str(error).replace(str(server.port), "PORT")
    return answer.status, list(answer.headers.items()), answer.body


async def _twice(answer: Answer, headers: dict[str, str]) -> Sequence[object]:
    """The outcomes of an answer and of a plain one after it, and the connections that they took."""
    session = HttpSession()
    async with raw_server(answer, Answer([plain(b"later")])) as server:
        first = await _outcome(session, server, headers)
        await asyncio.sleep(0.02)  # until the end of a connection has arrived
        second = await _outcome(session, server, headers)
        await session.close()
    return [first, second, server.connections]


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_route_gives_what_the_session_gives(name: str) -> None:
    """Answers, failures in their words, and what is kept for the next request are the same."""
    answer = ANSWERS[name]
    assert await _twice(answer, BY_SESSION) == await _twice(answer, KEY)


async def test_a_route_is_what_sends(session: HttpSession) -> None:
    """Requests take the route by default; a header that frames the request takes the session."""
    async with raw_server(Answer([plain(b"a")])) as server:
        await session.post(server.url, KEY, {}, 2.0)
        assert _route_of(session) is not None
        await session.post(server.url, BY_SESSION, {}, 2.0)
    assert [False, True] == [route is None for route in session._routes.values()]


@pytest.mark.parametrize("body", [{"q": 1}, {"q": "é" * 200_000}, {}])
async def test_the_bytes_on_the_wire_are_the_sessions(
    session: HttpSession, body: dict[str, object]
) -> None:
    """A server can't tell a route from aiohttp's session."""
    headers = {
        "Authorization": "Bearer é",
        "X-One": "1",
        "x-one": "2",
        "content-type": "application/json",
    }
    async with raw_server(Answer([plain(b"a")])) as server:
        await session.post(f"{server.url}?a=b c&d=é#part", headers, body, 5.0)
        by_session = {"Connection": "keep-alive", **headers}
        await session.post(f"{server.url}?a=b c&d=é#part", by_session, body, 5.0)
    ours, theirs = server.heads
    assert theirs.replace(b"Connection: keep-alive\r\n", b"") == ours
    assert server.bodies[1] == server.bodies[0]


async def test_credentials_in_a_url_take_the_session(session: HttpSession) -> None:
    """The session makes a header of them, and a route doesn't."""
    async with raw_server(Answer([plain(b"a")])) as server:
        url = server.url.replace("//", "//me:secret@")
        await session.post(url, {}, {}, 2.0)
    assert b"Authorization: Basic bWU6c2VjcmV0" in server.heads[0]
    assert _route_of(session) is None


@pytest.mark.parametrize("name", ["with a length", "chunked", "gzip", "a reset", "half a body"])
async def test_tls_is_the_sessions(name: str) -> None:
    """Over TLS a route gives what the session gives, and keeps the connection as it does."""
    authority = trustme.CA()
    serving, asking = _contexts(authority)
    outcomes: list[list[object]] = []
    for headers in (BY_SESSION, KEY):
        session = HttpSession(asking)
        async with raw_server(ANSWERS[name], Answer([plain(b"later")]), tls=serving) as server:
            got = [await _outcome(session, server, headers) for _ in range(2)]
            await session.close()
        outcomes.append([*got, server.connections])
    by_session, by_route = outcomes
    assert by_session == by_route
    assert isinstance(by_route[1], tuple)  # of TLS, the later request at least succeeds
    assert 200 == by_route[1][0]


async def test_a_certificate_that_nobody_signed_is_refused(session: HttpSession) -> None:
    """The certificate is checked before a byte of a request is sent."""
    serving, _ = _contexts(trustme.CA())
    async with raw_server(Answer([plain(b"a")]), tls=serving) as server:
        with pytest.raises(ModelFailed, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await session.post(server.url, KEY, {}, 2.0)
    assert ("unreachable", []) == (caught.value.kind, server.heads)


def _contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    asking = ssl.create_default_context()
    authority.configure_trust(asking)
    return serving, asking


async def test_a_cancelled_request_leaves_nothing_in_the_pool(session: HttpSession) -> None:
    """After a cancellation in the middle of an answer the next request has its own answer."""
    half = Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nst", 5.0, b"ale"])
    async with raw_server(Answer([plain(b"first")]), half, Answer([plain(b"third")])) as server:
        await session.post(server.url, KEY, {}, 2.0)
        server.answered.clear()
        task = asyncio.create_task(session.post(server.url, KEY, {}, 9.0))
        await server.answered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        third = await session.post(server.url, KEY, {}, 2.0)
    assert (b"third", 2) == (third.body, server.connections)


@pytest.mark.parametrize(
    "pieces", [[5.0], [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nst", 5.0]]
)
async def test_a_timeout_leaves_nothing_in_the_pool(
    session: HttpSession, pieces: list[bytes | float]
) -> None:
    """A server that is slow, before or within its answer, is a timeout, and isn't asked again."""
    async with raw_server(Answer(pieces), Answer([plain(b"next")])) as server:
        with pytest.raises(ModelFailed) as caught:
            await session.post(server.url, KEY, {}, 0.1)
        following = await session.post(server.url, KEY, {}, 2.0)
    assert ("timeout", b"next", 2) == (caught.value.kind, following.body, server.connections)


async def test_a_connection_that_still_sends_is_not_kept(session: HttpSession) -> None:
    """If a server answers before it has read the body, the rest isn't taken for a request."""
    early = Answer([plain(b"too large", "413 Payload Too Large")], early=True)
    async with raw_server(early, Answer([plain(b"next")])) as server:
        refused = await session.post(server.url, KEY, {"q": "a" * 20_000_000}, 5.0)
        following = await session.post(server.url, KEY, {}, 5.0)
    assert (413, b"next", 2) == (refused.status, following.body, server.connections)


async def test_a_kept_connection_that_the_server_closed_is_not_used(session: HttpSession) -> None:
    """Once the end of a kept connection has arrived, the next request opens another."""
    async with raw_server(Answer([plain(b"a")], "close"), Answer([plain(b"b")])) as server:
        await session.post(server.url, KEY, {}, 2.0)
        await asyncio.sleep(0.05)
        again = await session.post(server.url, KEY, {}, 2.0)
    assert (b"b", 2) == (again.body, server.connections)


async def test_many_requests_at_once_have_their_own_answers(session: HttpSession) -> None:
    """Sixty-four open requests, some of which are cancelled, never get another's answer."""

    async def one(number: int) -> None:
        task = asyncio.ensure_future(session.post(server.url, KEY, {"q": number}, 5.0))
        if number % 7 == 3:
            await asyncio.sleep(0.001 * (number % 5))
            task.cancel()
            return
        assert str(number).encode() == (await task).body

    async with _EchoServer() as server:
        for start in range(0, 512, 64):
            await asyncio.gather(*(one(start + number) for number in range(64)))


class _EchoServer:
    """Answers each body ``{"q": N}`` with N after a moment, in two pieces."""

    url = ""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                number = (await reader.readexactly(length)).split(b":")[1].rstrip(b"}").strip()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(number))
                await asyncio.sleep(0.002)
                writer.write(number)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@settings(max_examples=30, deadline=None)
@given(
    body=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    packed=st.booleans(),
    chunked=st.booleans(),
)
def test_pieces_change_nothing(
    *, body: bytes, cuts: list[int], packed: bool, chunked: bool
) -> None:
    """However an answer is cut into pieces, packed and chunked, its body is the same."""
    sent = gzip.compress(body) if packed else body
    extra = [GZIP] if packed else []
    answer = plain(sent, "200 OK", *extra)
    if chunked:
        chunk = b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b""
        answer = (
            CHUNKED + b"".join(line + b"\r\n" for line in extra) + b"\r\n" + chunk + b"0\r\n\r\n"
        )
    edges = sorted({0, *(cut for cut in cuts if cut < len(answer)), len(answer)})
    pieces: list[bytes | float] = []
    for start, end in itertools.pairwise(edges):
        pieces += [answer[start:end], 0.0]

    async def ask() -> bytes:
        session = HttpSession()
        async with raw_server(Answer(pieces)) as server:
            got = await session.post(server.url, KEY, {}, 5.0)
            await session.close()
        return got.body

    assert body == asyncio.run(ask())


async def test_headers_that_always_differ_are_forgotten(session: HttpSession) -> None:
    """A header of each request's own makes a route of its own, and few are kept."""
    async with raw_server(Answer([plain(b"a")])) as server:
        for number in range(150):
            await session.post(server.url, {"X-Request": str(number)}, {}, 2.0)
    assert (1, True) == (server.connections, len(session._routes) <= 64)
