"""The command ``map``, its shards, and ``runs merge``."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint

from lmflow.stores.sqlite.store import reading

ROWS = [{"text": "one"}, {"text": "three", "id": "own"}, {"text": "four"}]


@pytest.fixture
def rows(here: Path) -> Path:
    """A folder with rows in a file."""
    (here / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), "utf-8")
    return here


def written(path: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, without the ids of traces."""
    lines = Path(path).read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "trace"} for line in lines]


def test_a_row_is_written_for_each_row_in_order(rows: Path) -> None:
    """With its id or position, inputs, outputs and no error."""
    told = call(rows, "map app:size rows.jsonl --out out.jsonl")
    assert told.stdout.startswith("3 rows in out.jsonl, 0 failed; 3 calls; run ")
    assert [
        {"id": "0", "text": "one", "size": 3, "error": None},
        {"id": "own", "text": "three", "size": 5, "error": None},
        {"id": "2", "text": "four", "size": 4, "error": None},
    ] == written("out.jsonl")


def test_a_failure_is_a_row_with_its_error(rows: Path) -> None:
    """The others are whole, and the command exits with 1; retrying them is named."""
    result = call(rows, "map app:broken rows.jsonl --out out.jsonl")
    assert (1, True) == (result.exit_code, "--retry-failures" in result.stdout)
    assert {(None, "ToolFailed: tool 'broken' raised ZeroDivisionError: integer division or")} == {
        (row["n"], row["error"][:71]) for row in written("out.jsonl")
    }


def test_the_same_line_again_sends_nothing(rows: Path) -> None:
    """What is recorded is written again; other rows, samples or --again begin a new run."""
    line = "map app:size rows.jsonl --out out.jsonl"
    first = done(rows, line)
    Path("out.jsonl").unlink()
    again = done(rows, line)
    assert ("new", "recorded", first["run"]) == (first["state"], again["state"], again["run"])
    assert 3 == len(written("out.jsonl"))
    assert first["run"] != done(rows, f"{line} --again")["run"]
    assert 6 == done(rows, f"{line} --samples 2")["rows"]
    assert [0, 1] == [row["sample"] for row in written("out.jsonl")][:2]
    with Path("rows.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "seven"}\n')
    assert ("new", 4) == (done(rows, line)["state"], done(rows, line)["rows"])


def test_rows_that_cannot_be_read_are_refused_before_anything_is_sent(rows: Path) -> None:
    """The line is named, and there is no run and no file."""
    with Path("rows.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "x"}\n{"tex')
    result = call(rows, "map app:size rows.jsonl --out out.jsonl")
    assert 1 == result.exit_code
    assert "rows.jsonl, line 5" in result.output
    assert "Nothing was sent." in result.output
    assert not Path("out.jsonl").exists()
    assert (
        "a map writes JSON lines or Parquet" in call(rows, "map app:size rows.jsonl --out x").output
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"texts": "x"}', "it lacks the input 'text' of size; it has 'texts'"),
        ('{"text": 5}', "size.text expects"),
        ('{"text": "x", "id": "own"}', "an earlier row has its id, 'own'"),
        ('{"text": "x", "id": "0"}', "an earlier row has its id, '0'"),
        ('{"text": "x", "id": "4"}\n{"text": "y"}', "an earlier row has its position as id"),
    ],
)
def test_rows_that_the_program_cannot_take_are_named(rows: Path, row: str, problem: str) -> None:
    """By file and line; there is no run."""
    with Path("rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{row}\n")
    result = call(rows, "map app:size rows.jsonl --out out.jsonl")
    last = 4 + row.count("\n")
    assert result.output.startswith(f"Error: rows.jsonl, line {last}: {problem}")
    assert (1, True) == (result.exit_code, result.output.endswith("Nothing was sent.\n"))
    assert not Path("lmflow.db").exists()


def test_results_never_replace_their_inputs(rows: Path) -> None:
    """Under whatever name; nor is anything sent for results that have no place."""
    Path("link.jsonl").symlink_to("rows.jsonl")
    Path("folder.jsonl").mkdir()
    before = Path("rows.jsonl").read_bytes()
    for out in ("rows.jsonl", "./rows.jsonl", "link.jsonl", "folder.jsonl", "name/o.jsonl"):
        result = call(rows, f"map app:size rows.jsonl --out {out}")
        assert (1, True) == (result.exit_code, "Name another file" in result.output)
    assert before == Path("rows.jsonl").read_bytes()
    assert not Path("lmflow.db").exists()


def test_results_that_cannot_be_written_are_kept(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so; the same line with another file writes them, and sends nothing."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("lmflow.cli.actions.mapping.write_json_lines", full)
        result = call(rows, "map app:size rows.jsonl --out out.jsonl")
    assert (1, True) == (result.exit_code, "No space left" in result.output)
    assert "the same line with another --out" in result.output
    assert not Path("out.jsonl").exists()
    assert "recorded" == done(rows, "map app:size rows.jsonl --out other.jsonl")["state"]
    assert 3 == len(written("other.jsonl"))


def test_a_map_that_is_killed_goes_on_and_pays_for_nothing_twice(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same line, and by resume, which writes the file too."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1

    data = "".join(f'{{"question": "{n}?"}}\n' for n in range(6))
    Path("asked.jsonl").write_text(data, "utf-8")
    with endpoint(asked=counted) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        line = "map app:answer asked.jsonl --out out.jsonl --model openai/gpt-5-mini"
        stopped = call(rows, f"{line} --budget-calls 2 --concurrency 1")
        assert 1 == stopped.exit_code
        assert not Path("out.jsonl").exists()
        again = call(rows, f"{line} --budget-calls 4 --concurrency 1")
        assert 1 == again.exit_code
        with reading("lmflow.db") as reader:
            (run,) = reader.runs(5, "")
        assert 0 == call(rows, f"resume {run.id}").exit_code
        assert 6 == len(written("out.jsonl"))
        Path("out.jsonl").unlink()  # as if it was killed before it wrote them
        assert "6 rows written" in call(rows, f"resume {run.id}").output
        assert 6 == len(written("out.jsonl"))
        assert "recorded" == done(rows, line)["state"]
    assert 6 == count


def test_shards_are_merged_into_the_run_of_all_rows(rows: Path) -> None:
    """Each into a store of its own; the merged run has the root of the map without shards."""
    whole = done(rows, "map app:size rows.jsonl --out whole.jsonl --store whole.db")
    found = []
    for k in (1, 2):
        done(rows, f"map app:size rows.jsonl --out {k}.jsonl --shard {k}/2 --store {k}.db")
        found += written(f"{k}.jsonl")
    assert sorted(map(repr, written("whole.jsonl"))) == sorted(map(repr, found))
    done(rows, "store merge 1.db 2.db --into all.db")
    merged = done(rows, "runs merge last --store all.db")
    assert (whole["root"], 3) == (merged["root"], merged["executions"])
    assert merged == done(rows, "runs merge last --store all.db")
    assert 0 == call(rows, f"verify {merged['run']} --store all.db").exit_code
    assert 0 == call(rows, f"replay {merged['run']} --store all.db").exit_code


def test_shards_of_an_evaluation_give_its_report(rows: Path) -> None:
    """Mean, interval and root are those of the evaluation without shards."""
    data = "".join(f'{{"text": "{"x" * n}", "size": {n % 4}}}\n' for n in range(1, 8))
    Path("data.jsonl").write_text(data, "utf-8")
    line = "eval app:size --data data.jsonl --metric exact_match:size"
    whole = done(rows, f"{line} --store whole.db")
    for k in (1, 2):
        call(rows, f"{line} --shard {k}/2 --store {k}.db")
    done(rows, "store merge 1.db 2.db --into all.db")
    with reading("all.db") as reader:
        names = " ".join(run.id for run in reader.runs(5, ""))
    for words in (f"runs merge {names}", "runs merge last --recorded"):
        merged = done(rows, f"{words} --store all.db")
        assert (whole["root"], whole["mean"]) == (merged["root"], merged["mean"])
    assert "isn't a shard" in call(rows, "runs merge last --store whole.db").output
    assert "Write k/n" in call(rows, f"{line} --shard 3/2").output


def test_a_shard_without_examples_is_no_failure(rows: Path) -> None:
    """So that the same line serves all shards; until all are there, the missing one is named."""
    Path("data.jsonl").write_text('{"text": "x", "size": 1}\n', "utf-8")
    line = "eval app:size --data data.jsonl --metric exact_match:size"
    shards = [done(rows, f"{line} --shard {k}/2 --store {k}.db")["rows"] for k in (1, 2)]
    assert [0, 1] == sorted(map(len, shards))
    missing = call(rows, "runs merge last --store 1.db")
    assert "shard 2/2 is missing. Run it, --shard 2/2, or bring its store here" in missing.output
    done(rows, "pull 2.db --store 1.db")
    assert 1 == len(done(rows, "runs merge last --store 1.db")["rows"])


def test_results_are_written_as_parquet(rows: Path) -> None:
    """With a column for each field, and the types of its values."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data: pyarrow")
    assert 0 == call(rows, "map app:size rows.jsonl --out out.parquet").exit_code
    read = parquet.read_table("out.parquet").to_pylist()
    assert [("0", 3), ("own", 5), ("2", 4)] == [(row["id"], row["size"]) for row in read]
    again = done(rows, "map app:size out.parquet --out again.jsonl")
    assert 3 == again["rows"]
