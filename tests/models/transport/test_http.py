"""The laws of the session: one POST, one answer or a failure with a name."""

from collections.abc import AsyncIterator

import pytest
from fakes import Reply, serving
from raw_http import Answer, raw_server

from lmflow.errors import ModelFailed
from lmflow.models.transport import http
from lmflow.models.transport.http import HttpSession
from lmflow.values.record import Record


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """A session that is closed at the end."""
    found = HttpSession()
    yield found
    await found.close()


async def test_status_headers_and_body_come_back(session: HttpSession) -> None:
    """Whatever the server answers is the response."""
    async with serving(Reply(418, "tea", {"X-Pot": "yes"})) as server:
        response = await session.post(server.url, {}, {}, 5.0)
    assert (418, b"tea", "yes") == (response.status, response.body, response.headers["X-Pot"])


async def test_the_body_is_json(session: HttpSession) -> None:
    """Records are sent as JSON objects, tuples as lists, and the type is said."""
    async with serving() as server:
        await session.post(server.url, {"X-One": "1"}, {"a": Record(b=(1, "é"))}, 5.0)
    seen = server.seen[0]
    assert ({"a": {"b": [1, "é"]}}, "application/json", "1") == (
        seen.body,
        seen.headers["Content-Type"],
        seen.headers["X-One"],
    )


async def test_one_session_serves_many(session: HttpSession) -> None:
    """A connection is kept for the next request."""
    async with serving() as server:
        for _ in range(3):
            await session.post(server.url, {}, {}, 5.0)
    assert 3 == len(server.seen)


async def test_too_large_an_answer_is_refused(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without end is left, not kept in memory."""
    monkeypatch.setattr(http, "LARGEST_BODY", 1000)
    async with serving(Reply(200, "x" * 200_000)) as server:
        with pytest.raises(ModelFailed) as caught:
            await session.post(server.url, {}, {}, 5.0)
    assert "bad_reply" == caught.value.kind


async def test_silence_is_a_timeout(session: HttpSession) -> None:
    """No answer within the seconds is a timeout that names the place."""
    async with serving(Reply(delay=30)) as server:
        with pytest.raises(ModelFailed) as caught:
            await session.post(server.url, {}, {}, 0.1)
    words = f"{server.place} gave no answer within 0.1 s. Raise the model's timeout"
    assert str(caught.value).startswith(words)


async def test_a_session_may_be_closed_twice() -> None:
    """Closing what was never opened, or twice, is fine."""
    session = HttpSession()
    await session.close()
    await session.close()
    assert session._session is None


async def test_a_closed_session_opens_again(session: HttpSession) -> None:
    """A request after closing opens it anew."""
    async with serving() as server:
        await session.post(server.url, {}, {}, 5.0)
        await session.close()
        await session.post(server.url, {}, {}, 5.0)
    assert 2 == len(server.seen)


async def test_no_answer_changes_a_later_request(session: HttpSession) -> None:
    """A cookie that a server sets is not sent back: a request is what it says, and no more."""
    async with serving(Reply(body="{}", headers={"Set-Cookie": "seen=1"})) as server:
        url = server.url.replace(
            "127.0.0.1", "localhost"
        )  # of an address no cookies would be kept anyway
        for _ in range(2):
            await session.post(url, {}, {}, 5.0)
    assert [None, None] == [seen.headers.get("Cookie") for seen in server.seen]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://a..b/",
        f"http://{'a' * 70}/",
        "http://me:sec/ret@host/?key=secret",
        "http://host:secret@:1/",
    ],
)
async def test_what_is_no_url_is_a_failure_without_secrets(session: HttpSession, url: str) -> None:
    """A base URL with a mistake fails typed, and its credentials and query aren't shown."""
    with pytest.raises(ModelFailed, match="is not a URL") as caught:
        await session.post(url, {}, {}, 1.0)
    assert ("request", False) == (caught.value.kind, "sec" in str(caught.value))


async def test_a_failure_hides_the_query(session: HttpSession) -> None:
    """The query of a URL may hold a key, so no failure shows it."""
    async with raw_server(Answer([b"220 smtp ready\r\n\r\n"])) as server:
        with pytest.raises(ModelFailed, match="400, Bad status line") as caught:
            await session.post(f"{server.url}?api_key=secret", {}, {}, 1.0)
    assert "secret" not in str(caught.value)
