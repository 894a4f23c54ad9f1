"""``lmflow doctor``: what it sees, and that it never shows a key."""

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.checks.health import health
from lmflow.traces.events import CallStarted, RunClosed, RunOpened, TraceOpened
from lmflow.traces.trace import CallAttempt, Trace

KEY = "sk-canary-0123456789abcdef0123456789"


def _checks(here: Path, words: str = "") -> dict[str, dict[str, Any]]:
    result = call(here, f"doctor {words} --json")
    return {check["name"]: check for check in json.loads(result.stdout)}


def _change(sql: str) -> None:
    with closing(sqlite3.connect("lmflow.db")) as db:
        db.execute(sql)
        db.commit()


def test_a_sound_machine_is_exit_code_0(here: Path) -> None:
    """Without a store, a key or an endpoint nothing fails."""
    result = call(here, "doctor")
    assert 0 == result.exit_code, result.output
    assert "none yet" in result.stdout


def test_nothing_is_written(here: Path) -> None:
    """To look makes no file."""
    before = sorted(here.rglob("*"))
    call(here, "doctor")
    assert before == sorted(here.rglob("*"))


@pytest.mark.parametrize("words", ["", "--json", "--model openai/gpt-5-mini"])
def test_a_key_is_never_shown(here: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is set or not; none of it is printed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        output = call(here, f"doctor {words}").output
    assert "set, long" in output
    assert not any(KEY[at : at + 6] in output for at in range(len(KEY) - 5))


def test_a_store_is_sound(here: Path) -> None:
    """Schema, size and calls of a store that is well."""
    done(here, "run app:size --set text=four")
    check = _checks(here)["store"]
    assert "ok" == check["state"]
    assert "1 call, sound" in check["found"]


def test_another_s_file_fails(here: Path) -> None:
    """A file that is no store is exit code 1, with the fix."""
    (here / "notes.txt").write_text("my notes", encoding="utf-8")
    result = call(here, "doctor --store notes.txt")
    assert 1 == result.exit_code
    assert "isn't an SQLite database" in result.stdout


def test_a_damaged_store_fails(here: Path) -> None:
    """What SQLite finds wrong is told."""
    done(here, "run app:size --set text=four")
    raw = bytearray((here / "lmflow.db").read_bytes())
    raw[4096:12288] = b"\xff" * 8192
    (here / "lmflow.db").write_bytes(raw)
    assert "fail" == _checks(here)["store"]["state"]


def test_an_older_schema_is_a_warning(here: Path) -> None:
    """A store that an earlier lmflow made is named, with the line that brings it up to date."""
    done(here, "run app:size --set text=four")
    _change("PRAGMA user_version = 1")
    check = _checks(here)["store"]
    assert ("warn", True) == (check["state"], "SqliteStore('lmflow.db').close()" in check["fix"])


def test_open_runs_and_orphans_are_counted(here: Path) -> None:
    """Calls that never ended are told apart: in runs that go on, and in runs that are over."""
    request = ChatRequest((Message("user", "x"),), "scripted/model", "scripted")
    asked = CallAttempt("a[0]/call[0]", request, request.key, started=1)
    with lf.SqliteStore("lmflow.db") as store:
        for name in ("r1", "r2"):
            trace = Trace(
                f"t{name}", lf.digest("program", "p"), "a", lf.Version(), lf.Record(), lf.Record()
            )
            store.append(
                RunOpened(lf.Run(name, "run", "a")),
                TraceOpened(name, "", 0, trace),
                CallStarted(trace.id, asked),
            ).result(10)
        store.append(RunClosed("r2", "stopped", "", 2)).result(10)
    found = health("lmflow.db")
    assert found is not None
    assert (1, 1, 1, 2) == (found.orphans, found.open_runs, found.open_calls, found.calls)
    assert {"store runs", "store calls"} <= _checks(here).keys()


def test_an_endpoint_is_asked_only_where_it_is_named(here: Path) -> None:
    """Without --model or OPENAI_BASE_URL nothing is sent."""
    assert "endpoint" not in _checks(here)


def test_an_endpoint_answers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One GET /models; the model is among them."""
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        check = _checks(here, "--model openai/gpt-5-mini")["endpoint"]
    assert ("ok", True) == (check["state"], check["found"].endswith("answers, 1 model"))


@pytest.mark.parametrize(
    ("status", "body", "state", "words"),
    [
        (401, "{}", "fail", "refuses the key"),
        (404, "{}", "warn", "answered 404"),
        (200, '{"data": [{"id": "other\\u001b[31m"}]}', "warn", "lists no 'gpt-5-mini'"),
        (200, "<html>", "ok", "0 models"),
    ],
)
def test_what_an_endpoint_may_answer(  # noqa: PLR0913, PLR0917 - the cases above
    status: int, body: str, state: str, words: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused key fails; no list, or another list, is a warning."""
    with endpoint(status=status, models=body) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        check = _checks(here, "--model openai/gpt-5-mini")["endpoint"]
        assert "\x1b" not in call(here, "doctor --model openai/gpt-5-mini").output
    assert (state, True) == (check["state"], words in check["found"])


def test_a_dead_endpoint_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: exit code 1, with the fix."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    result = call(here, "doctor")
    assert 1 == result.exit_code
    assert "can't be reached" in result.stdout


@pytest.mark.parametrize("url", ["127.0.0.1:80", "http://me:secret@127.0.0.1/v1"])
def test_a_bad_base_url_fails(here: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no base URL is not asked; a password in it isn't shown."""
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    result = call(here, "doctor")
    assert (1, False) == (result.exit_code, "secret" in result.output)


def test_a_model_without_its_key_fails(here: Path) -> None:
    """A model that can't be used as it is configured is exit code 1, and the line says what to set."""
    result = call(here, "doctor --model openai/gpt-5-mini")
    assert 1 == result.exit_code
    assert "Set OPENAI_API_KEY" in result.stdout
