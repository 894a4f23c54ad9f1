"""The laws of data sets and exports at the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lmflow as lf
from lmflow.cli.commands.exports import COLUMNS
from lmflow.cli.main import main
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest

APP = """
import lmflow as lf
rewrite = lf.predict("rewrite", "question -> query", "Write a query.")
number = lf.predict("number", "query -> n: int", "Count.")
rag = rewrite >> number
"""


def script(request: ChatRequest) -> ChatReply:
    """A query, a number, at first one that can't be read, and nothing for what is bad."""
    last, turns = request.messages[-1].content, len(request.messages)
    if "Count" in request.messages[0].content:
        text = (
            "many" if "3" in last and turns == 2 else "7" if "BAD" not in str(request) else "none"
        )
    else:
        text = last.rpartition("\n")[2].upper()
    return ChatReply(text, usage=Usage(prompt=10, completion=2))


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an app and a store: four executions with scores, one that failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("LMFLOW_STORE", raising=False)
    sys.modules.pop("app_of_data", None)
    (tmp_path / "app_of_data.py").write_text(APP, encoding="utf-8")
    import app_of_data  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    with lf.SqliteStore("lmflow.db") as store:
        async with lf.Executor(lf.scripted(script), store, target="app_of_data:rag") as ex:
            run = await ex.map(
                app_of_data.rag, [{"question": f"q{n}"} for n in range(4)] + [{"question": "bad"}]
            )
            for n, trace in enumerate(run.traces[:4]):
                await ex.score(trace, name="helpful", value=n / 3)
                await ex.score(trace, name="short", value=1.0)
    return tmp_path


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """The app of one test isn't that of the next."""
    yield
    sys.modules.pop("app_of_data", None)


def call(*words: str) -> Result:
    """A command's result."""
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def said(*words: str) -> str:
    """What a command that works says."""
    result = call(*words)
    assert 0 == result.exit_code, result.output
    return result.output


def refused(*words: str) -> str:
    """What a command that doesn't work says."""
    result = call(*words)
    assert 1 == result.exit_code, result.output
    return result.output


def lines(text: str) -> list[Any]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def questions(name: str) -> list[str]:
    """The questions of a data set."""
    return [row["question"] for row in lines(said("dataset", "export", name))]


@pytest.mark.parametrize(
    ("wheres", "found"),
    [
        (["score.helpful > 0.5"], "q2 q3"),
        (["score.helpful > 0.5", "input.question != q3"], "q2"),
        (["score.short = 1"], "q0 q1 q2 q3"),
        (["output.query ~ q1"], "q1"),
        (["output.n = 7"], "q0 q1 q2 q3"),
        (["program ~ rewrite"], "q0 q1 q2 q3"),
        (["model = scripted/model"], "q0 q1 q2 q3"),
        (["status = done"], "q0 q1 q2 q3"),
        (["started > 2020-01-01"], "q0 q1 q2 q3"),
        ([], "q0 q1 q2 q3"),
    ],
)
async def test_runs_become_a_data_set(here: Path, wheres: list[str], found: str) -> None:
    """The executions that fit all conditions, failed ones never, are examples: inputs with outputs."""
    del here
    said(
        "dataset",
        "from-runs",
        "--name",
        "x",
        *(word for where in wheres for word in ("--where", where)),
    )
    assert found.split() == questions("x")


async def test_score_is_the_named_one(here: Path) -> None:
    """``score`` alone means the latest score, with --metric the latest of that name."""
    del here
    said("dataset", "from-runs", "--name", "x", "--where", "score>0.5", "--metric", "helpful")
    assert ["q2", "q3"] == questions("x")
    said("dataset", "from-runs", "--name", "y", "--where", "score>0.5")
    assert 4 == len(questions("y"))


async def test_versions_are_named_short(here: Path) -> None:
    """A condition on the version takes a ref or a short id."""
    del here
    version = lines(said("runs", "export"))[0]["version"]
    said("dataset", "from-runs", "--name", "x", "--where", f"version = {version[6:14]}")
    assert 4 == len(questions("x"))
    assert "no ref or version" in refused(
        "dataset", "from-runs", "--name", "x", "--where", "version = prod"
    )


async def test_steps_become_examples(here: Path) -> None:
    """With --step the examples are what that step was given and gave."""
    del here
    said("dataset", "from-runs", "--name", "x", "--step", "number")
    assert {"query": "Q0", "n": 7} in lines(said("dataset", "export", "x"))
    assert "it has rewrite, number" in refused(
        "dataset", "from-runs", "--name", "x", "--step", "other"
    )


async def test_nothing_that_fits_is_an_error(here: Path) -> None:
    """A data set of nothing isn't made."""
    del here
    assert "no execution matches" in refused(
        "dataset", "from-runs", "--name", "x", "--where", "score>9"
    )
    assert "BadCondition" not in refused(
        "dataset", "from-runs", "--name", "x", "--where", "drop table"
    )


async def test_sft_has_the_exact_chats(here: Path) -> None:
    """Each step is a line: the messages that were sent, the reply that was read, and the step's
    name.
    """
    del here
    said("dataset", "from-runs", "--name", "x", "--where", "score.helpful = 0")
    rewrite, number = lines(said("dataset", "export", "x", "--format", "sft"))
    assert {"messages", "step"} == set(rewrite)
    assert ["rewrite", "number"] == [rewrite["step"], number["step"]]
    sent = lines(said("runs", "export"))
    assert rewrite["messages"][:-1] in [row["messages"] for row in sent]
    assert {"role": "assistant", "content": "Q0"} == rewrite["messages"][-1]


async def test_sft_teaches_no_mistake(here: Path) -> None:
    """If a reply was mended, the chat is the step's own prompt and the outputs that it came to."""
    del here
    said("dataset", "from-runs", "--name", "x", "--where", "input.question = q3")
    (chat,) = lines(said("dataset", "export", "x", "--format", "sft", "--step", "number"))
    assert ["system", "user", "assistant"] == [turn["role"] for turn in chat["messages"]]
    assert "7" == chat["messages"][-1]["content"]


async def test_raw_sft_ends_with_the_reply_that_was_read(here: Path) -> None:
    """With --raw the chat has the mistake and goes on to the correction."""
    del here
    said("dataset", "from-runs", "--name", "x", "--where", "input.question = q3")
    line = ("dataset", "export", "x", "--format", "sft", "--step", "number", "--raw")
    (chat,) = lines(said(*line))
    roles = [turn["role"] for turn in chat["messages"]]
    assert ["system", "user", "assistant", "user", "assistant"] == roles
    assert "7" == chat["messages"][-1]["content"]


async def test_sft_needs_runs(here: Path) -> None:
    """A data set that comes from a file has no chats."""
    (here / "qa.jsonl").write_text('{"question": "a", "answer": "b"}\n', encoding="utf-8")
    said("dataset", "import", "qa.jsonl")
    assert "come from no recorded run" in refused("dataset", "export", "qa", "--format", "sft")


async def test_a_file_is_written(here: Path) -> None:
    """--out writes the lines to a file, readable as they were."""
    said("dataset", "from-runs", "--name", "x", "--where", "score.helpful = 0")
    assert "1 line in x.jsonl" in said("dataset", "export", "x", "--out", "x.jsonl")
    assert [{"n": 7, "query": "Q0", "question": "q0"}] == lines(
        (here / "x.jsonl").read_text(encoding="utf-8")
    )
    assert "can't be written" in refused("dataset", "export", "x", "--out", "no/x.jsonl")


async def test_files_are_imported_in_splits(here: Path) -> None:
    """A file is parted by fractions, or is one split beside those that are there."""
    rows = "".join(json.dumps({"question": f"q{n}"}) + "\n" for n in range(10))
    (here / "qa.jsonl").write_text(rows, encoding="utf-8")
    said("dataset", "import", "qa.jsonl", "--split", "train=0.8", "--split", "held=0.2")
    assert {"train": 8, "held": 2} == json.loads(said("dataset", "show", "qa", "--json"))["splits"]
    (here / "more.jsonl").write_text('{"question": "new"}\n', encoding="utf-8")
    said("dataset", "import", "more.jsonl", "--name", "qa", "--split", "extra")
    assert {"train": 8, "held": 2, "extra": 1} == json.loads(
        said("dataset", "show", "qa", "--json")
    )["splits"]
    assert "is not a fraction" in refused("dataset", "import", "qa.jsonl", "--split", "train=most")
    assert "for each part its fraction" in refused(
        "dataset", "import", "qa.jsonl", "--split", "a", "--split", "b"
    )


async def test_data_sets_are_listed_and_shown(here: Path) -> None:
    """``ls`` names them with their splits, show prints examples, in both forms."""
    del here
    assert "No data sets yet" in said("dataset", "ls")
    said("dataset", "from-runs", "--name", "x", "--split", "train")
    assert "train 4" in said("dataset", "ls")
    assert [{"train": 4}] == [row["splits"] for row in json.loads(said("dataset", "ls", "--json"))]
    assert "1 of 4 shown" in said("dataset", "show", "x", "--limit", "1")
    assert 4 == len(
        json.loads(said("dataset", "show", "x", "--split", "train", "--json"))["examples"]
    )


async def test_calls_are_rows(here: Path) -> None:
    """Each recorded call is a row with all columns, of a run or of all."""
    del here
    rows = lines(said("runs", "export"))
    assert set(COLUMNS) == set(rows[0])
    assert (12, "ok", 10) == (len(rows), rows[0]["status"], rows[0]["tok_in"])
    assert rows == lines(said("runs", "export", rows[0]["run"]))
    assert "no run" in refused("runs", "export", "nothing")


async def test_parquet_has_the_same_rows(here: Path) -> None:
    """Parquet holds what JSON lines do, messages as JSON."""
    parquet = pytest.importorskip("pyarrow.parquet")
    said("runs", "export", "--format", "parquet", "--out", "calls.parquet")
    rows = parquet.read_table(here / "calls.parquet").to_pylist()
    assert lines(said("runs", "export")) == [
        {**row, "messages": json.loads(row["messages"])} for row in rows
    ]


async def test_parquet_says_what_it_needs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, or without pyarrow, the error says what to do."""
    del here
    assert "--out calls.parquet" in refused("runs", "export", "--format", "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'pip install "lmflow-dsl[data]"' in refused(
        "runs", "export", "--format", "parquet", "--out", "x.parquet"
    )
