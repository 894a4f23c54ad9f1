"""Time travel as a story: a program goes live, is changed and breaks, and every question of that day is
answered by a command, from the store, in one test from top to bottom.
"""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from desk import Desk

import lmflow as lf
from lmflow.cli.main import main

DEV = "dev.jsonl --metric app:exact --model openai/MODEL"
VIEWS = ("v_runs", "v_traces", "v_calls", "v_versions", "v_scores", "v_reflog", "v_datasets")
LINES = {
    "ann": ("Ignore greetings.", "greetings confused it"),
    "bob": ("Decide quickly.", "shorter thinking"),
    "eve": ("Never guess.", "ticket 812"),
}


def reply(request: Any) -> str:
    """Sort a message rightly, but questions wrongly if it is told to decide quickly."""
    last = request.messages[-1].content
    with Path("dev.jsonl").open(encoding="utf-8") as file:
        rows = {row["message"]: row for row in map(json.loads, file)}
    row = next((row for message, row in rows.items() if message in last), None)
    topic, urgent = (row["topic"], row["urgent"]) if row else ("bug", True)
    if "Decide quickly" in request.messages[0].content and topic == "question":
        topic = "bug"
    return f"[[topic]]\n{topic}\n[[urgent]]\n{str(urgent).lower()}"


class Story:
    """A project in a folder, and what its commands print."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def run(self, *words: str) -> str:
        """What a command prints; it must end well."""
        with self.desk.entered():
            result = CliRunner().invoke(main, list(words))
        assert 0 == result.exit_code, result.output
        return result.stdout

    def json(self, line: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.run(*line.split(), "--json"))

    def evaluated(self, version: str) -> tuple[str, float]:
        """The run of an evaluation of the eight rows, and its score."""
        self.run(*f"eval app:triage --data {DEV} --version {version}".split())
        (run,) = self.json("runs ls --limit 1")
        return run["id"], run["scores"]["exact"]

    def calls(self) -> int:
        """The calls that were sent so far."""
        return int(self.json("costs")["total"]["calls"])


@pytest.fixture
def story() -> Iterator[Story]:
    """A project as ``lmflow new`` writes it, live under ``prod``, and broken on ``main`` by bob."""
    namespace: dict[str, Any] = {}
    desk = Desk.of(namespace)
    namespace["say"] = reply
    story = Story(desk)
    story.run("new", "desk")
    desk.cwd = desk.folder / "desk"
    try:
        _go_live(story)
        yield story
    finally:
        Desk.leave(namespace)


def _go_live(story: Story) -> None:
    with story.desk.entered(), lf.SqliteStore("lmflow.db") as store:
        spec = importlib.util.spec_from_file_location("desk_app", "app.py")
        assert spec is not None
        assert spec.loader is not None
        app = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        version = lf.init(app.triage)
        lf.commit(store, "prod", version, why="first")
        lf.commit(store, "main", version, why="first")
        for who, (line, note) in LINES.items():
            text = f"{version.params['triage.instruction']}\n{line}"
            version = version.put({"triage.instruction": text}, note=note)
            lf.commit(store, "main", version, who=who)


def test_the_story(story: Story) -> None:
    """Each question has its answer, and looking sends nothing."""
    good, score = story.evaluated("prod")
    assert 1.0 == score
    bad, score = story.evaluated("main")
    assert 0.8125 == score  # three of eight are questions, each half right
    sent = story.calls()

    _what_changed(story)
    _who_introduced_this_line(story)
    _why_is_it_wrong(story, bad)
    _what_would_the_traffic_cost(story)
    assert sent == story.calls()
    _which_version_broke_it(story, bad)
    _roll_back_and_prove(story, good)
    _score_anew(story, bad)
    _bad_answers_become_data(story, bad)
    _retain(story, bad)
    _move(story)
    assert sent + 2 == story.calls()  # what bisect sent


def _what_changed(story: Story) -> None:
    (change,) = story.json("diff prod..main")["changes"]
    assert "triage.instruction" == change["path"]
    notes = [row["note"] for row in story.json("log prod..main")]
    assert [note for _, note in reversed(LINES.values())] == notes
    for line, _ in LINES.values():
        assert f"{{+{line}+}}" in story.run("diff", "prod..main")


def _who_introduced_this_line(story: Story) -> None:
    rows = story.json("blame main triage.instruction")
    authors = {row["part"]: row["author"] for row in rows}
    assert {line: who for who, (line, _) in LINES.items()}.items() <= authors.items()
    (row,) = json.loads(story.run("log", "main", "-S", "quickly", "--json"))
    assert ("bob", "shorter thinking") == (row["author"], row["note"])


def _why_is_it_wrong(story: Story, bad: str) -> None:
    (run,) = story.json(f"runs show --where run={bad} --where label=m15")
    (item,) = run["items"]
    assert {"topic": "bug", "urgent": False} == item["outputs"]
    explained = story.run("why", f"{bad}/m15")
    assert "topic: bug\n  from triage[0]/call[0]" in explained
    assert "since" in explained
    assert "Decide quickly." in story.run("runs", "show", f"{bad}/m15", "--messages")


def _what_would_the_traffic_cost(story: Story) -> None:
    """Under main each call changes; under prod those of prod's runs don't."""
    line = "replay --where kind=evaluate --where started>=7d --version"
    under_main, under_prod = story.json(f"{line} main"), story.json(f"{line} prod")
    assert (16, 8) == (under_main["executions"], under_main["changed"])
    assert (8, 8) == (under_main["replay"]["least"]["calls"], under_prod["replay"]["most"]["calls"])
    tokens = [part["under"]["least"]["tokens"] for part in (under_main, under_prod)]
    assert tokens[0] > tokens[1]
    assert "Nothing was sent." in story.run(*f"{line} main".split())


def _which_version_broke_it(story: Story, bad: str) -> None:
    line = f"bisect prod main --example {bad}/m15 --metric app:exact"
    by_run = f"bisect prod main --run {bad} --example m15 --metric app:exact"
    assert story.json(line) == story.json(by_run)
    assert story.json(line)["found"] is None
    found = story.json(f"{line} --live")["found"]
    assert story.json("show main~1")["id"] == found["bad"]
    assert story.json("show main~2")["id"] == found["good"]


def _roll_back_and_prove(story: Story, good: str) -> None:
    story.run("rollback", "main", "--to", "main~2", "--why", "bob's line breaks questions")
    assert "Decide quickly." not in story.run("show", "main", "triage.instruction")
    assert "Decide quickly." in story.run("show", "main@{1}", "triage.instruction")
    story.run("rollback", "main", "--to", "prod")
    proof = story.json(f"replay {good} --version main")
    assert (True, 8, 0) == (
        proof["same_root"],
        proof["reused"],
        proof["needed"]["most"]["calls"],
    )
    moves = story.json("reflog main")
    assert "rollback: bob's line breaks questions" == moves[1]["why"]


def _score_anew(story: Story, bad: str) -> None:
    metric = "def topic(example, outputs):\n    return example['topic'] == outputs['topic']\n"
    (story.desk.cwd / "metrics.py").write_text(metric, encoding="utf-8")
    scores = story.json(f"score {bad} --metric metrics:topic")
    assert [0.0] * 3 + [1.0] * 5 == sorted(score["value"] for score in scores)
    (run,) = story.json(f"runs ls --where run={bad}")
    assert {"exact", "topic"} == set(run["scores"])
    assert 3 == len(story.json("runs calls --where score.topic=0"))


def _bad_answers_become_data(story: Story, bad: str) -> None:
    rows = (story.desk.cwd / "dev.jsonl").read_text("utf-8").splitlines(keepends=True)
    right = "".join(row for row in rows if '"topic": "question"' in row)
    (story.desk.cwd / "right.jsonl").write_text(right, encoding="utf-8")
    line = f"dataset from-runs --where run={bad} --where score.topic=0 --answers right.jsonl"
    found = story.json(f"{line} --name hard")
    assert 3 == found["examples"]
    with story.desk.entered(), lf.SqliteStore("lmflow.db") as store:
        assert {"question"} == {row.topic for row in store.dataset("hard")}


def _retain(story: Story, bad: str) -> None:
    """What a pin holds stays, and what old runs hold goes once it is told to."""
    story.run("pin", "add", "main@{2}", "--why", "to look at later")
    assert "Nothing to remove." in story.run("gc", "--older-than", "30d")
    assert bad in story.run("runs", "ls")


def _move(story: Story) -> None:
    """A copy is a store like any other, also for tools that know nothing of lmflow."""
    copy = story.desk.folder / "copy.db"
    story.run("backup", str(copy))
    assert json.loads(story.run("verify", "--store", str(copy), "--json"))["sound"]
    there = json.loads(story.run("log", "main", "--store", str(copy), "--json"))
    assert story.json("log main") == there
    with closing(sqlite3.connect(copy)) as db:
        counts = {view: len(db.execute(f"SELECT * FROM {view}").fetchall()) for view in VIEWS}  # noqa: S608
        steps = db.execute("SELECT DISTINCT step, version FROM v_calls").fetchall()
    assert all(counts.values()), counts
    assert {"triage"} == {step for step, _ in steps}
    assert 4 == len(steps)
    _open_in_datasette(copy)


def _open_in_datasette(copy: Path) -> None:
    """Datasette reads the views, if it is installed."""
    if importlib.util.find_spec("datasette") is None:
        return
    words = [
        sys.executable,
        "-m",
        "datasette",
        str(copy),
        "--get",
        "/copy/v_calls.json?_shape=array",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "triage" in done.stdout
