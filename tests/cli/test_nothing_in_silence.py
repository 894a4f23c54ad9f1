"""What a command doesn't do it says: refs that stay, runs that aren't there, files of other kinds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commanding import call, done, endpoint

import lmflow as lf
from lmflow.errors import ModelUnavailable

ROWS = '{"id": "a", "question": "q", "answer": "x"}\n{"id": "b", "question": "r", "answer": "x"}\n'
BOM = "run app:size --data bom.jsonl"
MAIN = [sys.executable, "-c", "from lmflow.cli.main import main; main()"]


@pytest.fixture
def ready(here: Path) -> Path:
    """A folder with a recorded run, and files of data."""
    done(here, "run app:size --set text=four")
    (here / "dev.jsonl").write_text(ROWS, encoding="utf-8")
    (here / "one.jsonl").write_text(ROWS.splitlines()[0], encoding="utf-8")
    (here / "list.json").write_text("[]", encoding="utf-8")
    (here / "latin.jsonl").write_bytes(b'{"text": "\xe9"}')
    (here / "blank.jsonl").write_text("\n", encoding="utf-8")
    (here / "dev.csv").write_text("question,answer\nq,x\n", encoding="utf-8")
    return here


REFUSED = [
    ("runs ls --before nope", "no run 'nope'"),
    ("import dev.jsonl", "`lmflow dataset import dev.jsonl`"),
    ("import one.jsonl", "`lmflow dataset import one.jsonl`"),
    ("import list.json", "`lmflow dataset import list.json`"),
    ("import dev.csv", "`lmflow dataset import dev.csv`"),
    ("import lmflow.db", "--store lmflow.db"),
    ("serve app:size --ref nope --openapi", "no ref or version 'nope'"),
    ("serve app:size --ref siez=prod --openapi", "Did you mean 'size'?"),
    ("serve app:size --ref nope --openapi --store none.db", "no such file"),
    ("eval app:answer --data dev.jsonl --metric f1", "--model PROVIDER/MODEL"),
    ("compare VERSION VERSION --program app:answer --data dev.jsonl --metric f1", "--model"),
    ("optimize app:answer --optimizer labeled_few_shot --train dev.jsonl --metric f1", "--model"),
    ("ref set a..b VERSION", "can't be the name of a ref"),
    ("run app:size --data latin.jsonl", "latin.jsonl: it is not UTF-8 (byte 10)"),
    ("run app:size --data blank.jsonl", "blank.jsonl has no rows"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_can_not_be_done_is_refused(ready: Path, line: str, words: str) -> None:
    """The line says what was found; no run and no ref is left."""
    with lf.SqliteStore("lmflow.db") as store:
        version = store.run(store.runs(1)[0].id).traces[0].version.id
    result = call(ready, line.replace("VERSION", version))
    assert (1, True) == (result.exit_code, words in result.stderr), result.output
    assert 1 == len(done(ready, "runs ls"))
    assert [] == done(ready, "ref ls")


def test_an_evaluation_without_a_model_leaves_no_run(ready: Path) -> None:
    """Python too looks for the model before the run opens."""

    async def go() -> None:
        with lf.SqliteStore(ready / "lmflow.db") as store:
            async with lf.Executor(store=store) as ex:
                step = lf.predict("a", "question -> answer")
                await ex.evaluate(step, [{"question": "?", "answer": "!"}], lf.f1("answer"))

    with pytest.raises(ModelUnavailable, match="no model was given"):
        asyncio.run(go())
    assert ["run"] == [run["kind"] for run in done(ready, "runs ls")]


def test_an_age_before_all_time_is_an_age(ready: Path) -> None:
    """No run is that old, so none is removed; a file of inputs may begin with a byte order mark."""
    assert 0 == done(ready, "gc --older-than 99999999999999w")["runs"]
    (ready / "bom.jsonl").write_text('\ufeff{"text": "four"}', encoding="utf-8")
    assert [4] == [trace["outputs"]["size"] for trace in done(ready, BOM)["traces"]]


def test_a_listing_continues_before_a_short_id(ready: Path) -> None:
    """--before takes an id as every other argument: also its end."""
    done(ready, "run app:size --set text=five")
    later, earlier = done(ready, "runs ls")
    assert [earlier] == done(ready, f"runs ls --before {later['id'][-6:]}")


def test_a_ref_that_stays_is_told(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimization that keeps the start version says that its ref wasn't moved."""
    rows = ({"id": f"e{n}", "question": f"How {n}?", "answer": "x"} for n in range(9))
    (ready / "dev.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    line = "optimize app:answer --optimizer random_search --option candidates=1 --train dev.jsonl"
    line += " --split .4,.3,.3 --metric exact_match:answer --guard --ref tuned"
    line += " --model openai/gpt-5-mini"
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        result = call(ready, line)
        data = done(ready, line)
    assert "ref tuned was not moved: the start version was kept" in result.stdout
    assert ({"name": "tuned", "moved": False}, []) == (data["ref"], done(ready, "ref ls"))


def test_a_follower_ends_with_its_reader(ready: Path) -> None:
    """``runs tail | head -1`` ends, though no further call is recorded."""
    started = time.monotonic()
    with subprocess.Popen(
        [*MAIN, "runs", "tail"], cwd=ready, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert b"tool size" in process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=20)
        assert b"" == process.stderr.read()
    assert 20 > time.monotonic() - started


@pytest.mark.parametrize("words", ["runs tail", "runs search four", "runs ls", "log --json"])
def test_a_closed_output_is_no_news(ready: Path, words: str) -> None:
    """Without a standard output a command does its work, prints nothing, and ends."""
    line = ["sh", "-c", f"{shlex.join([*MAIN, *words.split()])} >&-"]
    ended = subprocess.run(line, cwd=ready, capture_output=True, timeout=60, check=False)
    assert (0, b"", b"") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("words", ["runs ls --json", "--help", "runs export"])
def test_a_reader_that_ended_is_no_news(ready: Path, words: str) -> None:
    """A command whose reader has gone ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*MAIN, *words.split()], cwd=ready, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert b"" == result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("words", ["runs ls", "runs ls --json", "--help", "runs export"])
def test_a_full_disk_is_one_line(ready: Path, words: str) -> None:
    """A command that can't print says why, on standard error."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*MAIN, *words.split()],
            cwd=ready,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert 1 == result.returncode
    assert ["Error: No space left on device."] == [line[:31] for line in result.stderr.splitlines()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("line", ["runs export --out /dev/full", "export VERSION --out /dev/full"])
def test_a_file_on_a_full_disk_is_named(ready: Path, line: str) -> None:
    """The line has the file, the problem and what mends it."""
    version = done(ready, "log")[0]["id"]
    result = call(ready, line.replace("VERSION", version))
    assert 1 == result.exit_code
    told = "Error: /dev/full can't be written: No space left on device. The disk is full: free"
    assert result.stderr.startswith(told), result.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_store_on_a_full_disk_says_so(ready: Path) -> None:
    """The first write that failed is the cause, not what later writes miss because of it."""
    rows = (json.dumps({"text": "x" * n}) for n in range(300))
    (ready / "in.jsonl").write_text("\n".join(rows), encoding="utf-8")
    target = f"{(ready / 'name').read_text('utf-8')}:size"
    line = shlex.join([*MAIN, "run", target, "--data", "in.jsonl", "--json"])
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f 100; {line}"],  # noqa: S607
        cwd=ready,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == result.returncode
    assert re.fullmatch(r"Error: store lmflow.db: .*Is the disk full\?\n", result.stderr), (
        result.stderr
    )


def test_a_trace_is_shown_if_it_is_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMFLOW_TRACEBACK lets an unexpected error pass, for who looks for its cause."""
    monkeypatch.setattr(json, "dumps", lambda *_, **__: dict[str, int]()["gone"])
    result = call(here, "models ls --json")
    assert "Error: unexpected KeyError: 'gone'. LMFLOW_TRACEBACK=1" in result.stderr
    monkeypatch.setenv("LMFLOW_TRACEBACK", "1")
    assert isinstance(call(here, "models ls --json").exception, KeyError)
