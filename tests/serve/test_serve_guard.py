"""The laws of who may ask: a token that is never kept, and names of the loopback."""

from __future__ import annotations

import pytest
from serving import ANSWER, echo, served

import lmflow as lf
from lmflow.serve.requests import Guard, is_loopback

TOKEN = "tea-for-two-and-a-canary"  # noqa: S105 - one of a test


@pytest.mark.parametrize(
    ("status", "given"),
    [(200, f"Bearer {TOKEN}"), (200, f"bearer  {TOKEN} "), (401, "Bearer wrong"), (401, TOKEN), (401, f"Basic {TOKEN}"),
     (401, ""), (401, "Bearer "), (401, f"Bearer {TOKEN}x"), (401, f"Bearer {TOKEN[:-1]}")],
)  # fmt: skip
async def test_only_the_token_opens(status: int, given: str) -> None:
    """Without the right token nothing is executed, and the document isn't shown."""
    async with (
        lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex,
        served(lf.serve.app(ANSWER, ex, token=TOKEN)) as client,
    ):
        got = await client.ask({"question": "q"}, Authorization=given)
        document = await client.get("/openapi.json", Authorization=given)
    assert (status, status) == (got.status, document.status)
    assert (status == 200) == bool(store.runs())
    if status == 401:
        assert ("unauthorized", "Bearer") == (got.json["error"], got.headers["WWW-Authenticate"])
    else:
        assert [{"token": []}] == document.json["security"]


async def test_the_token_is_checked_before_the_body() -> None:
    """Who has no token learns nothing of what the inputs should be."""
    async with (
        lf.Executor(lf.scripted(echo)) as ex,
        served(lf.serve.app(ANSWER, ex, token=TOKEN)) as client,
    ):
        assert [401, 401] == [
            (await client.ask(inputs)).status for inputs in ({"x": 1}, {"question": 3})
        ]


async def test_health_without_the_token_says_no_more_than_that() -> None:
    """Probes need no token; versions and models are told only to who has it."""
    async with (
        lf.Executor(lf.scripted(echo)) as ex,
        served(lf.serve.app(ANSWER, ex, token=TOKEN)) as client,
    ):
        bare, whole = (
            await client.get("/healthz"),
            await client.get("/healthz", Authorization=f"Bearer {TOKEN}"),
        )
    assert ({"status": "ok"}, "answer") == (bare.json, *whole.json["programs"])


@pytest.mark.parametrize(
    ("expected", "host"),
    [
        *((True, host) for host in ("127.0.0.1:8000", "localhost", "[::1]:80", "127.8.8.8")),
        *(
            (False, host)
            for host in (
                "evil.example:8000",
                "127.0.0.1.evil.example",
                "8.8.8.8",
                "",
                "192.168.0.2",
                "[",
            )
        ),
    ],
)
def test_the_loopback_has_names(*, expected: bool, host: str) -> None:
    """A name is the loopback's or it isn't."""
    assert expected is is_loopback(host)


async def test_a_page_that_renames_the_loopback_is_refused() -> None:
    """A local server answers only to the loopback's own names, so that no web page reaches it by
    one of theirs.
    """
    async with (
        lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex,
        served(lf.serve.app(ANSWER, ex, local=True)) as client,
    ):
        assert 403 == (await client.ask({"question": "q"}, Host="evil.example")).status
        assert [] == list(store.runs())
        assert 200 == (await client.ask({"question": "q"}, Host="localhost:1")).status


def test_a_guard_keeps_no_token() -> None:
    """The token isn't in the guard, nor in what is shown of it."""
    guard = Guard.of(TOKEN)
    assert TOKEN.encode() not in guard.token
    assert TOKEN not in repr(guard)
    assert b"" == Guard.of("").token
