"""The laws of imported traces: nothing is lost, nothing is guessed, nothing is there twice."""

from __future__ import annotations

import asyncio
import json
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.collector.exporting import look_spans
from lmflow.errors import NotReplayable
from lmflow.telemetry.mapping import SpanOptions
from lmflow.telemetry.protobuf import encode
from lmflow.traces.feed import Cursor

pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")

APP = """
import lmflow as lf

answer = lf.predict("answer", "question, style: str = 'short' -> answer", "Answer.")
two = lf.predict("two", "question -> answer, why", "Answer with a reason.")

def redact(text):
    return text.replace("Ann", "[name]")

def right(example, outputs):
    return outputs.answer == example.answer
"""
RULE = """--map 'span.name~chat -> step answer'"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, which is the current one."""
    name = f"imported_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(APP, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LMFLOW_STORE", str(tmp_path / "new.db"))
    (tmp_path / "name").write_text(name, "utf-8")
    return tmp_path


def lmflow(here: Path, line: str, *, fails: bool = False) -> Any:
    """Run a command line; what it prints as JSON, or its words if it fails."""
    name = (here / "name").read_text("utf-8")
    words = [word.replace("app:", f"{name}:") for word in shlex.split(line)]
    result = CliRunner().invoke(main, words if fails else [*words, "--json"])
    if fails:
        assert result.exit_code
        return result.output
    assert not result.exit_code, result.output
    return json.loads(result.stdout)


def production(here: Path, *, answer: str = "Paris", questions: int = 4) -> Path:
    """A file of the spans of another store, in protobuf."""
    program = lf.predict("answer", "question, style: str = 'short' -> answer", "Answer.")

    async def record(store: lf.SqliteStore) -> None:
        async with lf.Executor(lf.scripted(lambda _: answer), store) as ex:
            await ex.map(program, [{"question": f"Ann asks {n}"} for n in range(questions)])

    with lf.SqliteStore(here / "production.db") as store:
        asyncio.run(record(store))
        with store.feed() as feed:
            options = SpanOptions(feed.store, content=True)
            spans = look_spans(feed.look(Cursor(), 1000), options)
    file = here / "spans.pb"
    file.write_bytes(encode(spans, "", {"service.name": "shop"}))
    return file


def test_a_second_import_adds_nothing(here: Path) -> None:
    """Traces that are there already are counted; no row is added to any table."""
    production(here)
    first = lmflow(here, "import traces spans.pb")
    assert (5, 9, 4) == (first["traces"], first["spans"], first["calls"])

    def rows() -> dict[str, int]:
        with sqlite3.connect(here / "new.db") as db:
            names = [
                row[0]
                for row in db.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search%'"
                )
            ]
            return {
                name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - names of tables
                for name in names
            }

    before = rows()
    again = lmflow(here, "import traces spans.pb")
    assert (0, 5, 0) == (again["traces"], again["known"], again["changed"])
    assert before == rows()
    assert not CliRunner().invoke(main, ["verify"]).exit_code


def test_bound_steps_become_examples_and_demonstrations(here: Path) -> None:
    """Bound spans are examples of the step, and harvest shows them with their origin."""
    production(here)
    counts = lmflow(here, f"import traces spans.pb --program app:answer {RULE}")
    assert (4, {}) == (counts["steps"], counts["unbound"])
    made = lmflow(
        here,
        "dataset from-runs --where kind=import --where calls>0 --program app:answer --step answer --name good",
    )
    assert 4 == made["examples"]
    found = lmflow(here, "dataset show good --limit 1")
    assert "Ann asks" in json.dumps(found)
    program = lf.predict("answer", "question, style: str = 'short' -> answer", "Answer.")

    async def tune() -> lf.Optimization:
        with lf.SqliteStore(here / "new.db") as store:
            async with lf.Executor(lf.scripted({}), store) as ex:
                data = store.dataset("good")
                metric = lf.exact_match("answer")
                return await ex.optimize(
                    lf.harvest(), program, lf.Data(data), metric, prior=store.run(counts["run"])
                )

    tuned = asyncio.run(tune())
    assert 4 == len(tuned.version["answer.demos"])
    assert 0 == tuned.spent.calls
    assert "answer[0]" in str(tuned.version.origin)


def test_an_imported_trace_is_not_replayed(here: Path) -> None:
    """A replay says that no program ran, instead of a divergence."""
    production(here)
    counts = lmflow(here, f"import traces spans.pb --program app:answer {RULE}")
    words = lmflow(here, f"replay {counts['run']} --program app:answer", fails=True)
    assert "not replayable" in words
    with lf.SqliteStore(here / "new.db") as store, pytest.raises(NotReplayable):
        lf.replay(store.run(counts["run"]), lf.predict("answer", "question -> answer"))


def test_texts_are_cleaned_before_the_first_write(here: Path) -> None:
    """With ``--redact`` no file of the store holds the original text."""
    production(here)
    counts = lmflow(here, f"import traces spans.pb --redact app:redact --program app:answer {RULE}")
    assert 4 == counts["steps"]
    for file in here.glob("new.db*"):
        assert b"Ann asks" not in file.read_bytes()
    shown = CliRunner().invoke(main, ["runs", "show", counts["run"], "--messages"]).output
    assert "[name] asks 1" in shown
    assert "Ann" not in shown


def test_cut_content_is_no_demonstration(here: Path) -> None:
    """A reply that was truncated is counted, kept as a trace, and bound to nothing."""
    production(here, answer="Paris is ...[truncated]")
    counts = lmflow(here, f"import traces spans.pb --program app:answer {RULE}")
    assert (5, 0, 4) == (counts["traces"], counts["steps"], counts["unreadable"])
    assert {"truncated or unreadable: the reply was truncated": 4} == counts["unbound"]


def test_prompts_of_others_are_not_guessed_at(here: Path) -> None:
    """A prompt that no adapter of lmflow wrote gives no inputs; a named place does."""
    span = {
        "traceId": "aa" * 16, "spanId": "bb" * 8, "name": "qa", "startTimeUnixNano": "1", "endTimeUnixNano": "9",
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.input.messages", "value": {"stringValue": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Please: why?"}]}])}},
            {"key": "gen_ai.output.messages", "value": {"stringValue": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "So."}], "finish_reason": "stop"}])}},
            {"key": "app.vars", "value": {"stringValue": '{"q": ["why?"]}'}},
        ],
    }  # fmt: skip
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (here / "one.jsonl").write_text(json.dumps(document) + "\n", "utf-8")
    rule = """--program app:answer --map 'span.name=="qa" and span.attributes.gen_ai.operation.name=chat -> step answer'"""
    counts = lmflow(here, f"import traces one.jsonl {rule}")
    assert {"their inputs of answer can't be recovered": 1} == counts["unbound"]
    take = "--take 'answer.question=attributes.app.vars.q[0]'"
    counts = lmflow(here, f"import traces one.jsonl {rule} {take} --store other.db")
    assert (1, {}) == (counts["steps"], counts["unbound"])
    made = lmflow(
        here,
        "dataset from-runs --where kind=import --program app:answer --step answer --name good --store other.db",
    )
    assert 1 == made["examples"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import traces none.json", "no file"),
        ("import traces name", "neither JSON nor JSON lines"),
        ("import traces spans.pb --map x", "--program"),
        ("import traces spans.pb --program app:answer --map x", "no rule"),
        (
            "import traces spans.pb --program app:answer --map 'span.name=a -> step anwser'",
            "Did you mean 'answer'",
        ),
        ("import traces spans.pb --program app:answer --map 'name=a -> step answer'", "span.name"),
        ("import traces spans.pb --program app:answer --take answer.q=input", "no field 'q'"),
    ],
)
def test_mistakes_are_named(here: Path, line: str, words: str) -> None:
    """Each mistake says what was expected."""
    production(here)
    assert words in lmflow(here, line, fails=True)
