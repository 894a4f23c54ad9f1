"""The commands ``sql``, ``backup`` and ``store salvage``, and the answers of ``dataset from-runs``."""

import csv
import io
import json
import sqlite3
import sys
from pathlib import Path

import pytest
from commanding import call, done, endpoint
from terminals import in_terminal

from lmflow.stores.sqlite.store import SqliteStore, reading


@pytest.fixture
def runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three recorded runs, whose answers are all wrong."""
    with endpoint("a wrong answer\x1b[31m") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        for question in ("How long?", "How hot?", "お茶は?"):
            words = f"run app:answer --set 'question={question}' --model openai/gpt-5-mini"
            assert 0 == call(here, words).exit_code
    return here


def test_sql_answers_as_table_csv_and_json(runs: Path) -> None:
    """The same rows in three forms; control characters are in none."""
    sql = '"select address, answered from v_calls order by id limit 2"'
    text = call(runs, f"sql {sql}").stdout
    assert text.splitlines()[0].split() == ["address", "answered"]
    rows = list(csv.reader(io.StringIO(call(runs, f"sql {sql} --format csv").stdout)))
    assert ["address", "answered"] == rows[0]
    data = done(runs, f"sql {sql}")
    assert ["answer[0]/call[0]"] * 2 == [row["address"] for row in data]
    assert data == json.loads(call(runs, f"sql {sql} --format json").stdout)
    assert all(
        "\x1b" not in call(runs, f"sql {sql} --format {form}").stdout
        for form in ("table", "csv", "json")
    )


def test_sql_says_that_there_is_more(runs: Path) -> None:
    """A cut list says so on standard error; --all shows the rest."""
    result = call(runs, 'sql "select id from v_runs" --limit 2')
    assert "2 rows shown, there are more: --limit N or --all" in result.stderr
    assert 3 == len(done(runs, 'sql "select id from v_runs" --limit 2 --all'))


def test_sql_lists_the_tables(runs: Path) -> None:
    """Without SQL the tables and columns are listed."""
    assert {"v_runs", "v_calls", "run"} <= done(runs, "sql").keys()
    assert "v_calls" in call(runs, "sql").stdout


@pytest.mark.parametrize(
    "sql", ["select 9e999", "select -9e999, x'00'", "select null", "select 1.5"]
)
def test_sql_prints_any_value(runs: Path, sql: str) -> None:
    """Infinities, bytes and nulls are printed in each form."""
    for form in ("table", "csv", "json"):
        assert 0 == call(runs, f'sql "{sql}" --format {form}').exit_code


def test_sql_fits_a_narrow_terminal(runs: Path) -> None:
    """Many columns stand below each other where they don't fit beside each other."""
    text = in_terminal(
        [
            str(Path(sys.executable).with_name("lmflow")),
            "sql",
            "select * from v_runs limit 1",
            "--no-pager",
        ],
        width=60,
        folder=runs,
    )
    assert any(line.split() == ["kind", "run"] for line in text.splitlines())


def test_backup_copies_once(runs: Path) -> None:
    """The copy verifies; it is not replaced unless told so."""
    assert done(runs, "backup copy.db")["sound"]
    assert 0 == call(runs, "verify --store copy.db").exit_code
    assert 1 == call(runs, "backup copy.db").exit_code
    assert 0 == call(runs, "backup copy.db --overwrite").exit_code


def test_a_damaged_store_is_found_and_rescued(runs: Path) -> None:
    """Doctor and verify name the damage, doctor the command, which brings the rest over."""
    with sqlite3.connect("lmflow.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'call_key'"
        ).fetchone()
    db.close()
    content = bytearray(Path("lmflow.db").read_bytes())
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    Path("lmflow.db").write_bytes(content)
    told = call(runs, "doctor")
    assert (1, True) == (told.exit_code, "lmflow store salvage lmflow.db" in told.stdout)
    assert 1 == call(runs, "verify").exit_code
    rescue = done(runs, "store salvage lmflow.db new.db")
    assert 3 == rescue["runs"]
    assert 0 == call(runs, "verify --store new.db").exit_code
    assert 1 == call(runs, "store salvage lmflow.db new.db").exit_code


def test_verify_names_a_wrong_full_text_index(runs: Path) -> None:
    """A word that the index lacks, or has too much, is found."""
    with sqlite3.connect("lmflow.db") as db:
        db.execute("INSERT INTO search (rowid, asked, answered) VALUES (1, 'more', 'words')")
    db.close()
    result = call(runs, "verify")
    assert (1, True) == (result.exit_code, "full-text index" in result.stdout)


def test_answers_are_written_mended_and_stored(runs: Path) -> None:
    """The file is written with the recorded answers; mended, its rows are the references."""
    assert 3 == done(runs, "dataset from-runs --name bad --answers bad.csv")["rows"]
    rows = list(csv.DictReader(io.StringIO(Path("bad.csv").read_text("utf-8"))))
    rows[0]["answer"], rows[1]["answer"] = "two minutes", "80 degrees"
    with Path("bad.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows[:2])
    result = call(runs, "dataset from-runs --name bad --answers bad.csv")
    assert "left out: 1 example that bad.csv does not answer" in result.stderr
    with reading("lmflow.db") as reader:
        assert {"two minutes", "80 degrees"} == {row["answer"] for row in reader.dataset("bad")}
        assert 2 == len(reader.datasets.origins("bad"))


@pytest.mark.parametrize("ending", ["jsonl", "tsv", "csv"])
def test_answers_may_be_named_by_their_inputs(runs: Path, ending: str) -> None:
    """A row without a trace is matched by all its inputs."""
    text = {"jsonl": '{"question": "How hot?", "context": [], "answer": "80"}\n'}
    text |= {
        "csv": "question,context,answer\nHow hot?,[],80\n",
        "tsv": "question\tcontext\tanswer\nHow hot?\t[]\t80\n",
    }
    Path(f"right.{ending}").write_text(text[ending], "utf-8")
    assert 1 == done(runs, f"dataset from-runs --name bad --answers right.{ending}")["examples"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trace,answer\nnone,x\n", "it is of none of the executions"),
        ("question\nHow hot?\n", "right.csv"),
        ("trace\nTRACE\n", "it does not give answer"),
    ],
)
def test_rows_that_answer_nothing_are_named(runs: Path, text: str, words: str) -> None:
    """A row of no execution, or without an answer, is an error that names file and line."""
    (trace,) = done(runs, 'sql "select trace from v_traces limit 1"')
    Path("right.csv").write_text(text.replace("TRACE", trace["trace"]), "utf-8")
    result = call(runs, "dataset from-runs --name bad --answers right.csv")
    assert (1, True) == (result.exit_code, words in result.stderr)
    with SqliteStore("lmflow.db") as store:
        assert [] == list(store.datasets.names())


def test_answers_are_mended_in_the_editor(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--edit shows the recorded answers and stores what the person left."""
    script = runs / "editor"
    script.write_text('#!/bin/sh\nsed -i "s/a wrong answer[^\\"]*/mended/" "$1"\n', "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    result = call(runs, "dataset from-runs --name good --edit")
    assert (0, True) == (result.exit_code, "3 of 3 answers changed" in result.stderr)
    with reading("lmflow.db") as reader:
        assert ["mended"] * 3 == [row["answer"] for row in reader.dataset("good")]


def test_an_unreadable_edit_stores_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is no JSON any more is one line."""
    script = runs / "editor"
    script.write_text('#!/bin/sh\necho "{" > "$1"\n', "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    result = call(runs, "dataset from-runs --name good --edit")
    assert (1, True) == (result.exit_code, "Nothing was stored" in result.stderr)


def test_files_of_rows_stay_at_home(here: Path) -> None:
    """Eval and run refuse a row's file outside the folder before anything is sent."""
    app = 'import lmflow as lf\nsee = lf.predict("see", "picture: Image -> answer")\n'
    (here / "sight.py").write_text(app, "utf-8")
    (here.parent / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (here / "rows.jsonl").write_text('{"picture": "../secret.png", "answer": "x"}\n', "utf-8")
    sent: list[object] = []
    with endpoint(asked=lambda: sent.append(1)) as url:
        for words in (
            "run sight:see --data rows.jsonl",
            "eval sight:see --data rows.jsonl --metric exact_match:answer",
        ):
            result = call(here, f"{words} --model openai/gpt-5-mini")
            assert (1, True) == (
                result.exit_code,
                "rows.jsonl, line 1: 'picture'" in result.stderr,
            ), (url, result.output)
    assert [] == sent


def test_allowed_files_are_read_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--allow-files is kept with an evaluation, so that it can be resumed and replayed."""
    app = 'import lmflow as lf\nsee = lf.predict("see", "picture: Image -> answer")\n'
    (here / "view.py").write_text(app, "utf-8")
    pictures = here / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (here / "data").mkdir()
    rows = '{"id": "a", "picture": "../pictures/a.png", "answer": "two minutes"}\n'
    (here / "data" / "rows.jsonl").write_text(rows, "utf-8")
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        words = "view:see --data data/rows.jsonl --model openai/gpt-5-mini"
        assert 1 == call(here, f"run {words}").exit_code
        assert 0 == call(here, f"run {words} --allow-files pictures").exit_code
        evaluation = done(here, f"eval {words} --metric exact_match:answer --allow-files pictures")
        assert evaluation["root"] == done(here, f"resume {evaluation['run']}")["root"]
    assert 0 == call(here, f"replay {evaluation['run']}").exit_code
