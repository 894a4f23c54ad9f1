"""What a kill leaves, at any moment: every acknowledged answer, no unknown call, a kept budget."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest

HERE = Path(__file__).parent
BUDGET, ROWS, KILLS = 200, 150, 8
SERVER_POINTS = ("request", "reply")
STORE_POINTS = ("statement", "commit", "committed")
"""Points of a commit to the store and of the making of rows; see ``kill_points``."""


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    """The counting server of a folder; its port."""
    words = [sys.executable, str(HERE / "killing_server.py"), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _run_of(folder: Path) -> list[str]:
    """The run of the store, as an argument; nothing before it began."""
    if not (folder / "store.db").exists():
        return []
    with lf.SqliteStore(folder / "store.db") as store:
        return [row.id for row in store.runs(1)]


def _killed_run(folder: Path, port: str, choose: random.Random, tally: Counter[str]) -> None:
    """A run that is killed and resumed until it ends."""
    for kills in range(KILLS + 2):
        point = choose.choice([*SERVER_POINTS, *STORE_POINTS, "time"]) if kills < KILLS else ""
        plan = f"{point} {choose.randint(1, 30)}"
        (folder / "plan").write_text(plan if point in SERVER_POINTS else "", "utf-8")
        words = [sys.executable, str(HERE / "killed_run.py"), str(folder), port, str(BUDGET)]
        words += [str(ROWS), *_run_of(folder)]
        environment = {**os.environ, "KILL_AT": plan if point in STORE_POINTS else ""}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            if point == "time":
                _kill_later(folder, process, choose)
            output, _ = process.communicate(timeout=120)
        if output:
            return
        assert -9 == process.returncode, point
        tally["kills of a run in all"] += 1
        tally[f"kills of a run at: {point}"] += 1
    pytest.fail("the run never ended")


def _kill_later(folder: Path, process: subprocess.Popen[str], choose: random.Random) -> None:
    """Kill a process once the server has got some more requests, some milliseconds later."""
    log = folder / "log"
    goal = _length(log) + choose.randint(1, 800)
    end = time.monotonic() + 20
    while process.poll() is None and _length(log) < goal and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(choose.random() / 100)
    process.kill()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(folder: Path, tally: Counter[str]) -> None:
    sent = Counter((folder / "log").read_text("utf-8").splitlines())
    acks = (folder / "acks").read_text("utf-8").splitlines()
    started, answers = Counter[str](), set[str]()
    with lf.SqliteStore(folder / "store.db") as store:
        (row,) = store.runs()
        for _, trace in store.run(row.id).items:
            for call in trace.calls:
                assert isinstance(call.request, ChatRequest)
                content = " ".join(call.request.messages[-1].content.split())
                started[f"S {content}"] += 1
                if isinstance(call.outcome, ChatReply):
                    answers.add(call.outcome.text)
    tally["runs under a budget of 200 calls"] += 1
    tally["requests that their servers counted"] += sent.total()
    tally["requests that were sent again"] += (sent - Counter(set(sent))).total()
    tally["answers that were acknowledged"] += len(acks)
    tally["acknowledged answers that were lost"] += len(set(acks) - answers)
    tally["requests without a start on record"] += (sent - started).total()
    assert sent.total() <= BUDGET
    assert 0 == _verified(folder).returncode
    assert set() == set(acks) - answers
    assert Counter() == sent - started


def _verified(folder: Path) -> subprocess.CompletedProcess[str]:
    lmflow = str(Path(sys.executable).with_name("lmflow"))
    words = [lmflow, "verify", "--store", str(folder / "store.db")]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_budget_and_every_answer_outlive_kills(
    rounds: Iterator[int], tmp_path: Path, tally: Counter[str]
) -> None:
    """The server never counts more than the budget, no acknowledged answer is lost, and whatever
    was sent more than once has as many starts on record.
    """
    for number in rounds:
        folder = tmp_path / str(number)
        folder.mkdir()
        with _server(folder) as port:
            _killed_run(folder, port, random.Random(number), tally)  # noqa: S311 - repeatable
        _check(folder, tally)
