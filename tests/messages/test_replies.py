"""Bad replies and bad endpoints: each the right answer or a failure with a name, with the raw text,
in a real store.
"""

import json
from pathlib import Path

import pytest
from fakes import Reply, chat, refused, serving

import lmflow as lf
from lmflow.messages.replies import ChatReply, Failure
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.responses import RAW_LIMIT

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
KEY = "sk-canary-4f9d2c7e81b3"


async def _recorded(path: Path, *replies: Reply, seconds: float = 5.0) -> lf.Trace:
    """The trace of one question as it is read back from a store, after it was replayed to the same
    root.
    """
    async with serving(*replies) as server:
        model = lf.retrying(
            OpenAI("openai/m", "m", server.url, "h", KEY, seconds), attempts=3, longest=0.01
        )
        with lf.SqliteStore(path / "runs.db") as store:
            async with lf.Executor(model, store) as ex:
                run = await ex.map(ANSWER, [{"question": "why?"}])
            read = store.run(run.id).traces[0]
    assert read.root == lf.replay(read, ANSWER).root
    return read


def _said(text: str, **changes: object) -> str:
    return str(chat(text, **changes).body)


# (what the endpoint does, the kind of the failure, how many attempts, a part of the raw text that
# is kept)
BAD = {
    "429 for ever": (refused(429, "slow down"), "rate_limit", 3, "slow down"),
    "500": (refused(500, "oops"), "server", 3, "oops"),
    "reset": (Reply(close=True), "unreachable", 3, ""),
    "truncated JSON": (
        Reply(200, _said("a long answer")[:70]),
        "bad_reply",
        1,
        '"model": "test-model-2026"',
    ),
    "empty choices": (Reply(200, _said("x", choices=[])), "bad_reply", 1, '"choices": []'),
    "a page": (
        Reply(200, "<html>Sign in</html>", {"Content-Type": "text/html"}),
        "bad_reply",
        1,
        "Sign in",
    ),
    "no UTF-8": (Reply(200, b"\xff\xfe\x00{"), "bad_reply", 1, "\x00{"),
    "a number": (Reply(200, "1e999"), "bad_reply", 1, "1e999"),
    "deep": (Reply(200, "[" * 100_000), "bad_reply", 1, "[[["),
    "NUL bytes": (Reply(400, json.dumps({"error": "a\0b"})), "request", 1, "a\\u0000b"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_endpoint_is_a_failure_with_a_name(case: str, tmp_path: Path) -> None:
    """The failure has its kind, the raw text is kept with it, each attempt is on record, and it
    replays.
    """
    reply, kind, attempts, raw = BAD[case]
    trace = await _recorded(tmp_path, reply)
    outcome = trace.calls[-1].outcome
    assert isinstance(outcome, Failure)
    assert (kind, attempts) == (outcome.data["kind"], len(trace.calls))
    assert raw in outcome.data.get("raw", "")


async def test_a_hang_is_a_timeout(tmp_path: Path) -> None:
    """A server that never answers is left after the model's time, each time."""
    trace = await _recorded(tmp_path, Reply(delay=30), seconds=0.05)
    assert ["timeout"] * 3 == [call.outcome.data["kind"] for call in trace.calls]  # type: ignore[union-attr]


async def test_a_slow_body_is_a_timeout(tmp_path: Path) -> None:
    """A server that begins its answer and never ends it is left as well."""
    slow = Reply(
        headers={"Content-Type": "application/json", "Content-Length": "1000"},
        parts=['{"choices"'],
        delay=0,
    )
    trace = await _recorded(tmp_path, slow, seconds=0.2)
    assert trace.failure is not None


# (the body, the text that it must be read as)
ODD = {
    "a wrong content type": (Reply(200, _said("fine"), {"Content-Type": "text/html"}), "fine"),
    "10 MB": (Reply(200, _said("x" * 10_000_000)), "x" * 10_000_000),
    "lone surrogates": (Reply(200, _said("X").replace('"X"', r'"a\ud800b"')), "a?b"),
    "NUL bytes": (Reply(200, _said("a\0b")), "a\0b"),
    "an unknown finish": (Reply(200, _said("fine").replace('"stop"', '"because"')), "fine"),
    "a byte order mark": (Reply(200, b"\xef\xbb\xbf" + _said("fine").encode()), "fine"),
}


@pytest.mark.parametrize("case", ODD)
async def test_an_odd_reply_is_read(case: str, tmp_path: Path) -> None:
    """What is only odd is the right answer, and the store gives it back as it was."""
    reply, text = ODD[case]
    outcome = (await _recorded(tmp_path, reply)).calls[0].outcome
    assert isinstance(outcome, ChatReply)
    assert text == outcome.text


async def test_an_unknown_finish_is_kept(tmp_path: Path) -> None:
    """Why it stopped is kept as the server said it."""
    outcome = (await _recorded(tmp_path, ODD["an unknown finish"][0])).calls[0].outcome
    assert "because" == outcome.finish  # type: ignore[union-attr]


async def test_a_raw_text_is_cut(tmp_path: Path) -> None:
    """Of 10 MB that can't be read the beginning is kept."""
    outcome = (await _recorded(tmp_path, Reply(200, "x" * 10_000_000))).calls[0].outcome
    assert RAW_LIMIT == len(outcome.data["raw"])  # type: ignore[union-attr]


async def test_a_raw_text_has_no_key(tmp_path: Path) -> None:
    """The key is masked in the raw text too."""
    outcome = (await _recorded(tmp_path, Reply(200, f"<p>{KEY}</p>"))).calls[0].outcome
    assert "<p>***</p>" == outcome.data["raw"]  # type: ignore[union-attr]
