"""The laws of ``lmflow serve``: started as a user does, asked from outside, moved by other
commands, and stopped.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest
from commanding import call, commands, done, endpoint
from serving import SLOW, Process, appeared, command

import lmflow as lf
from lmflow.cli.commands.serve import _refs
from lmflow.stores.sqlite.store import SqliteStore

MODEL = ("--model", "openai/gpt-5-mini")


def ask(url: str, inputs: Any, **headers: str) -> tuple[int, Any]:
    """The status and the JSON that a server answers."""
    named = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(inputs).encode(), named)  # noqa: S310 - the loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as got:  # noqa: S310
            return got.status, json.loads(got.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.fixture
def target(here: Path) -> str:
    """The module of the folder."""
    return (here / "name").read_text("utf-8")


@pytest.fixture
def slow(here: Path) -> str:
    """A program that ends when the file ``go`` is there."""
    (here / "slow_app.py").write_text(SLOW, encoding="utf-8")
    return "slow_app:slow"


@pytest.fixture
def model() -> Iterator[dict[str, str]]:
    """The environment of a model."""
    with endpoint() as url:
        yield {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-canary"}


def test_it_answers_by_the_ref_and_heeds_its_moves(
    here: Path, target: str, model: dict[str, str]
) -> None:
    """What ``lmflow ref`` and ``rollback`` move in another process answers from the next request
    on; runs and replay show it, offline.
    """
    with SqliteStore("lmflow.db") as store:
        first = lf.init(
            lf.predict("answer", "context: list[str] = [], question -> answer", "Answer.")
        )
        second = first.put({"answer.instruction": "Be brief."})
        lf.commit(store, "prod", first, second, before="")
        lf.commit(store, "prod", first)
    with command(f"{target}:answer", "--ref", "prod", *MODEL, folder=here, **model) as server:
        versions = [ask(server.url + "/run", {"question": "q"})[1]["version"]]
        done(here, f"ref set prod {second.id}")
        versions.append(ask(server.url + "/run", {"question": "q"})[1]["version"])
        done(here, "rollback prod")
        status, last = ask(server.url + "/run", {"question": "q"})
        assert 0 == server.stop()
        assert {"event": "stopping", "open": 0} == server.line()
        assert {"event": "stopped", "answered": 3, "failed": 0, "cut": 0} == server.line()
    assert (200, {"answer": "two minutes"}) == (status, last["outputs"])
    assert [first.id, second.id, first.id] == [*versions, last["version"]]
    assert ["serve"] * 3 == [row["kind"] for row in done(here, "runs ls")]
    assert last["trace"] == done(here, f"runs show {last['run']}")["items"][0]["id"]
    assert {"same": True, "calls": 1}.items() <= done(here, f"replay {last['run']}").items()


def test_the_start_says_what_is_served(here: Path, target: str) -> None:
    """The first line of --json names address, programs with version and ref, store, and a command
    that works.
    """
    with command(f"{target}:size", f"{target}:broken", folder=here) as server:
        started = server.started
        line = started["programs"][0]["curl"]
        done_ = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)  # noqa: S607
        assert 0 == server.stop(signal.SIGINT)
    assert ("started", "lmflow.db", False) == (started["event"], started["store"], started["token"])
    assert [("size", "/run/size", ""), ("broken", "/run/broken", "")] == [
        (row["name"], row["path"], row["ref"]) for row in started["programs"]
    ]
    assert {"size": 3} == json.loads(done_.stdout)["outputs"]


def test_a_stop_ends_what_is_open(here: Path, slow: str) -> None:
    """After SIGTERM nobody new is let in, what is open is answered and on record, and the exit code
    is 0.
    """
    with command(slow, folder=here) as server, ThreadPoolExecutor() as pool:
        asked = pool.submit(ask, server.url + "/run", {"text": "tea"})
        appeared(here / "began")
        server.process.send_signal(signal.SIGTERM)
        assert {"event": "stopping", "open": 1} == server.line()
        with pytest.raises(urllib.error.URLError):
            ask(server.url + "/run", {"text": "late"})
        (here / "go").touch()
        assert 0 == server.process.wait(30)
        status, answer = asked.result()
        assert {"event": "stopped", "answered": 1, "failed": 0, "cut": 0} == server.line()
    assert (200, {"answer": "tea"}) == (status, answer["outputs"])
    assert [("serve", "done")] == [(row["kind"], row["status"]) for row in done(here, "runs ls")]


@pytest.mark.parametrize("again", [True, False])
def test_what_does_not_end_in_time_is_cut_off(here: Path, slow: str, *, again: bool) -> None:
    """When the time is over, or at a second signal, the client is told, the run is stopped, exit
    code 0.
    """
    with (
        command(slow, "--grace", "60" if again else "0.1", folder=here) as server,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(ask, server.url + "/run", {"text": "tea"})
        appeared(here / "began")
        server.process.send_signal(signal.SIGINT)
        assert {"event": "stopping", "open": 1} == server.line()
        if again:
            server.process.send_signal(signal.SIGINT)
        status, problem = asked.result()
        (here / "go").touch()  # its thread can't be stopped
        assert 0 == server.process.wait(30)
        assert 1 == server.line()["cut"]
    assert (503, "stopping") == (status, problem["error"])
    assert [("serve", "stopped")] == [(row["kind"], row["status"]) for row in done(here, "runs ls")]


def test_a_token_is_in_no_line_and_no_file(here: Path, target: str) -> None:
    """The token that a variable holds is asked for; it is in nothing that is said or stored."""
    token = "canary-of-the-token"  # noqa: S105
    with command(f"{target}:size", "--token-env", "TEA", folder=here, TEA=token) as server:
        assert [401, 401, 200] == [
            ask(server.url + "/run", {"text": "x"}, **given)[0]
            for given in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Bearer {token}"})
        ]
        assert 0 == server.stop()
        said = json.dumps(server.started) + "".join(filter(None, server.process.communicate()))
    assert '\\"Authorization: Bearer $TEA\\"' in said
    assert token not in said
    files = [path for path in here.rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_words_for_people(here: Path, target: str) -> None:
    """Without --json it says where it is, what it serves and how to ask; each request and the stop
    are lines, and no input is in them.
    """
    line = [
        sys.executable,
        "-c",
        "from lmflow.cli.main import main; main()",
        "serve",
        f"{target}:size",
        "--port",
        "0",
    ]
    with subprocess.Popen(
        line, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        words = [process.stdout.readline() for _ in range(7)]
        url = words[0].split()[1]
        _, answer = ask(url, {"text": "my secret"})
        assert 422 == ask(url, {"text": 3})[0]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert ["text -> size: int\n", "size at its defaults, "] == [
        words[0].partition("  ")[2],
        words[1][2:24],
    ]
    assert "curl -s http://127.0.0.1:" in words[5]
    assert ("", 3, 0) == (out, len(err.splitlines()), process.returncode)
    assert "200  POST /run" in err.splitlines()[0]
    assert f"run {answer['run']}" in err.splitlines()[0]
    assert "422  POST /run" in err.splitlines()[1]
    assert "stopped: 1 answered, 0 failed; see `lmflow runs ls`" == err.splitlines()[2]
    assert "secret" not in err


def test_others_are_let_in_loudly(here: Path, target: str) -> None:
    """An address that others reach is warned of, more so without a token."""
    with command(f"{target}:size", "--host", "0.0.0.0", folder=here) as server:  # noqa: S104 - that is the point
        server.stop()
        assert (
            "0.0.0.0 can be reached from other machines, WITHOUT A TOKEN"
            in server.process.communicate()[1]
        )
    with command(
        f"{target}:size",
        "--host",
        "0.0.0.0",  # noqa: S104
        "--token-env",
        "TEA",
        folder=here,
        TEA="x",
    ) as server:
        server.stop()
        assert "with the token" in server.process.communicate()[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("serve app:size --ref prod", "no ref or version 'prod'"),
        (
            "serve app:size --token-env NOT_SET_ANYWHERE",
            "the environment variable NOT_SET_ANYWHERE holds no token",
        ),
        ("serve app:size --ref siez=prod", "there is no program 'siez' here. Did you mean 'size'?"),
        ("serve app:size app:size", "two programs are called 'size'"),
        ("serve app:answer --model nobody/x", "model 'nobody/x'"),
        ("serve app:answer --model openai/gpt-5-mini --budget-usd 1", "the budget can't be kept"),
        ("serve app:nope", "has no program 'nope'"),
        ("mcp serve app:size --ref prod", "no ref or version 'prod'"),
    ],
)
def test_a_mistake_is_one_line(
    here: Path, line: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps it from beginning is told before it listens, with exit code 1."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    result = call(here, line)
    assert (1, 1) == (result.exit_code, len(result.stderr.strip().splitlines())), result.output
    assert words in result.stderr


def test_a_taken_address_is_told(here: Path) -> None:
    """An address that another process has is an error that names another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = call(here, f"serve app:size --port {taken.getsockname()[1]}")
    assert (1, True) == (result.exit_code, "Give another, --port" in result.stderr)


def test_the_document_is_printed_without_a_server(here: Path) -> None:
    """--openapi prints the document and ends."""
    assert ["/run", "/healthz"] == list(done(here, "serve app:size --openapi")["paths"])


def test_refs_are_for_all_or_for_one() -> None:
    """``REF`` is the ref of those programs that have none of their own."""
    programs: dict[str, click.Command] = dict(commands())
    names = dict.fromkeys(["a", "b", "c"])
    assert programs
    assert {"a": "x", "b": "y", "c": "y"} == _refs(["a=x", "y"], names)
    assert {"a": "y", "b": "x", "c": "y"} == _refs(["y", "b=x"], names)
    assert {} == _refs([], names)


def test_it_survives_a_kill(here: Path, slow: str) -> None:
    """A server that is killed leaves what was begun as open, to be resumed, and the store sound."""
    with command(slow, folder=here) as server:
        threading.Thread(target=_asked, args=(server,), daemon=True).start()
        appeared(here / "began")
        while not done(here, "runs ls"):  # its start is committed a moment later
            time.sleep(0.02)
        server.process.kill()
        server.process.wait(30)
    (row,) = done(here, "runs ls")
    assert "open" == row["status"]
    assert done(here, "verify")["sound"]
    (here / "go").touch()
    assert {"answer": "tea"} == done(here, f"resume {row['id']}")["traces"][0]["outputs"]


def _asked(server: Process) -> None:
    """Ask, and be cut off."""
    try:
        ask(server.url + "/run", {"text": "tea"})
    except (OSError, ValueError):
        return
