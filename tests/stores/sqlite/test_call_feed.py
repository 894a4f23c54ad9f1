"""Following a store: each call once, when it has ended, whoever writes it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from commanding import call, done

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import CallEnded, CallStarted, RunClosed, RunOpened, TraceOpened
from lmflow.traces.trace import CallAttempt, Trace

REQUEST = ChatRequest((Message("user", "x"),), "scripted/model", "scripted")


@pytest.fixture
def store(here: Path) -> Iterator[SqliteStore]:
    """A store that is being written."""
    with SqliteStore(here / "lmflow.db") as found:
        yield found


def _open(store: SqliteStore, run: str) -> None:
    trace = Trace(f"t{run}", lf.digest("program", "p"), "a", lf.Version(), lf.Record(), lf.Record())
    store.append(RunOpened(lf.Run(run, "run", "a")), TraceOpened(run, "ex[0]", 0, trace)).result(10)


def _start(store: SqliteStore, run: str, k: int) -> CallAttempt:
    asked = CallAttempt(f"a[{k}]/call[0]", REQUEST, REQUEST.key, started=1_000_000)
    store.append(CallStarted(f"t{run}", asked)).result(10)
    return asked


def _end(store: SqliteStore, run: str, asked: CallAttempt, ended: int = 5_000_000) -> None:
    store.append(
        CallEnded(f"t{run}", attrs.evolve(asked, outcome=ChatReply("fine"), ended=ended))
    ).result(10)


def test_a_call_is_told_once_when_it_has_ended(store: SqliteStore) -> None:
    """A call that goes on is not told; one that has ended is, once."""
    with reading("lmflow.db") as reader:
        following = reader.follow()
        _open(store, "r1")
        asked = _start(store, "r1", 0)
        assert [] == following.ended()
        _end(store, "r1", asked)
        assert ["a[0]/call[0]"] == [call.address for call in following.ended()]
        assert [] == following.ended()


def test_calls_are_told_in_the_order_of_their_ends(store: SqliteStore) -> None:
    """What began later and ended earlier comes first."""
    _open(store, "r1")
    with reading("lmflow.db") as reader:
        following = reader.follow()
        first, second = _start(store, "r1", 0), _start(store, "r1", 1)
        _end(store, "r1", second, 5)
        _end(store, "r1", first, 9)
        assert ["a[1]/call[0]", "a[0]/call[0]"] == [call.address for call in following.ended()]


def test_what_had_begun_before_is_told(store: SqliteStore) -> None:
    """Who begins to follow while a call is open hears of its end."""
    _open(store, "r1")
    asked = _start(store, "r1", 0)
    with reading("lmflow.db") as reader:
        following = reader.follow()
        _end(store, "r1", asked)
        assert [1] == [call.call for call in following.ended()]


@pytest.mark.parametrize(
    ("last", "calls"), [(0, []), (1, [3]), (2, [2, 3]), (9, [1, 2, 3]), (None, [1, 2, 3])]
)
@pytest.mark.parametrize("run", ["", "r1"])
def test_it_begins_with_the_last(
    store: SqliteStore, run: str, last: int | None, calls: list[int]
) -> None:
    """``last`` calls that are there come first, of the store and of a run alike."""
    _open(store, "r1")
    for k in range(3):
        _end(store, "r1", _start(store, "r1", k))
    with reading("lmflow.db") as reader:
        assert calls == [call.call for call in reader.follow(run, last).ended()]


def test_a_run_is_followed_alone(store: SqliteStore) -> None:
    """Of a run that is named the calls are told, and its end; others' aren't."""
    _open(store, "r1")
    _open(store, "r2")
    with reading("lmflow.db") as reader:
        following = reader.follow("r2")
        _end(store, "r1", _start(store, "r1", 0))
        _end(store, "r2", _start(store, "r2", 0))
        assert (["r2"], False) == ([call.run for call in following.ended()], following.over)
        store.append(RunClosed("r2", "done", "", 9)).result(10)
        assert following.over


def test_the_command_ends_with_its_run(here: Path) -> None:
    """``tail RUN`` of a run that is over prints its calls and ends."""
    done(here, "run app:size --set text=four")
    result = call(here, f"runs tail {done(here, 'runs ls')[0]['id']}")
    assert 0 == result.exit_code
    assert "size[0]/call[0]  tool size" in result.stdout


def test_json_is_a_line_a_call(here: Path) -> None:
    """``--json`` prints one object a line."""
    done(here, "run app:size --set text=four")
    result = call(here, f"runs tail {done(here, 'runs ls')[0]['id']} --json")
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert ("tool", "size", "ok", "4") == (row["kind"], row["model"], row["status"], row["text"])


def test_a_failure_is_told(here: Path) -> None:
    """A call that failed says how."""
    call(here, "run app:broken --set text=four")
    result = call(here, f"runs tail {done(here, 'runs ls')[0]['id']}")
    assert "✗ tool 'broken' raised ZeroDivisionError" in result.stdout


def test_another_process_is_followed_until_ctrl_c(store: SqliteStore, here: Path) -> None:
    """The command tells what this process records while it looks, and Ctrl-C ends it with exit code
    0.
    """
    _open(store, "r1")
    _end(store, "r1", _start(store, "r1", 0))
    code = "import sys; from lmflow.cli.main import main; main(sys.argv[1:])"
    words = ["runs", "tail", "--json", "--every", "0.02"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=here,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        assert 1 == json.loads(process.stdout.readline())["call"]
        _end(store, "r1", _start(store, "r1", 1))
        assert 2 == json.loads(process.stdout.readline())["call"]
        process.send_signal(signal.SIGINT)
        assert (0, "") == (process.wait(20), process.stdout.read())
