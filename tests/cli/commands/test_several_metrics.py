"""Several metrics on the command line: read, replayed, resumed and compared as one is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint

import lmflow as lf
from lmflow.stores.sqlite.store import SqliteStore

APP = """
grade = lf.predict("grade", "response -> verdict")
reads = {"response": "outputs.answer"}
judge = lf.Judge(grade, reads=reads, score_from="verdict", scale={"two minutes": 1})
"""
METRICS = "--metric exact_match:answer --metric app:brief --metric app:judge"
LINE = f"eval app:answer --data rows.jsonl --model openai/gpt-5-mini {METRICS}"


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A folder with data and a judge, and an endpoint that counts the chats that it answers."""
    chats: list[int] = []
    module = here / f"{(here / 'name').read_text('utf-8')}.py"
    module.write_text(module.read_text("utf-8") + APP, encoding="utf-8")
    rows = [{"id": f"e{n}", "question": f"How {n}?", "answer": "two minutes"} for n in range(4)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with endpoint(asked=lambda: chats.append(1)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
        yield chats


def test_each_metric_has_a_line_and_a_column(here: Path, asked: list[int]) -> None:
    """In the text and in JSON; the judge is paid once."""
    result: Any = done(here, LINE)
    assert ["exact_match", "brief", "grade"] == list(result["means"])
    assert {"brief", "grade"} == set(result["rows"][0]["scores"])
    text = call(here, LINE).stdout
    assert 8 == len(asked)
    for words in ("\nexact_match 1.000", "\nbrief 1.000", "\ngrade 1.000", "score.brief"):
        assert words in text


def test_a_recorded_evaluation_is_replayed_and_resumed(here: Path, asked: list[int]) -> None:
    """To the same root, with a line for each metric, and at no further call."""
    result: Any = done(here, LINE)
    assert result["root"] == done(here, f"replay {result['run']}")["result"]
    words = call(here, f"replay {result['run']}").stdout
    assert "\nexact_match 1.000" in words
    assert "\ngrade 1.000" in words
    again = done(here, f"resume {result['run']}")
    assert (result["root"], result["run"]) == (again["root"], again["run"])
    assert 1 == len(done(here, "runs ls"))
    assert 8 == len(asked)


def test_recorded_evaluations_are_compared_by_each(here: Path, asked: list[int]) -> None:
    """From the store alone: the primary metric decides, --metric names another."""
    first: Any = done(here, LINE)
    second: Any = done(
        here, LINE.replace("exact_match:answer", "f1:answer") + " --metric exact_match"
    )
    found: Any = done(here, f"compare {first['run']} {second['run']}")
    assert ("exact_match", ["brief", "grade"]) == (
        found["metric"],
        [other["metric"] for other in found["others"]],
    )
    named: Any = done(here, f"compare {first['run']} {second['run']} --metric brief")
    assert "brief" == named["metric"]
    near = call(here, f"compare {first['run']} {second['run']} --metric brif")
    assert "no metric 'brif'. Did you mean 'brief'?" in near.output
    assert 8 == len(asked)


def test_versions_are_compared_by_several(here: Path, asked: list[int]) -> None:
    """Two versions are evaluated by all metrics, each compared."""
    done(here, LINE)
    version = lf.init(
        lf.predict("answer", "context: list[str] = [], question -> answer", "Answer.")
    )
    line = f"compare {version.id} {version.id} --program app:answer --data rows.jsonl"
    found: Any = done(here, f"{line} --model openai/gpt-5-mini {METRICS}")
    assert ["brief", "grade"] == [other["metric"] for other in found["others"]]
    assert 8 == len(asked)


STRICT = "exact_match:answer,normalize=false"


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (["exact_match", STRICT], ["exact_match", STRICT]),
        (["loose=exact_match", STRICT], ["loose", "exact_match"]),
        (["a=f1", "b=app:brief"], ["a", "b"]),
    ],
)
def test_names_tell_metrics_apart(
    here: Path, asked: list[int], metrics: list[str], names: list[str]
) -> None:
    """NAME=METRIC names one; metrics of one kind are called by their texts."""
    options = " ".join(f"--metric {metric}" for metric in metrics)
    result: Any = done(
        here, f"eval app:answer --data rows.jsonl --model openai/gpt-5-mini {options}"
    )
    assert names == list(result["means"])
    assert result["root"] == done(here, f"replay {result['run']}")["result"]
    assert 4 == len(asked)


def test_a_metric_given_twice_is_refused(here: Path, asked: list[int]) -> None:
    """Before anything is sent."""
    result = call(here, LINE + " --metric app:brief")
    assert (1, []) == (result.exit_code, asked)
    assert "brief" in result.output


def test_one_metric_keeps_its_settings(here: Path, asked: list[int]) -> None:
    """The run of an evaluation by one metric stores nothing of several."""
    result: Any = done(
        here, "eval app:answer --data rows.jsonl --model openai/gpt-5-mini --metric f1"
    )
    with SqliteStore(here / "lmflow.db") as store:
        config: Any = store.run(result["run"]).config
    assert {"data", "metric", "version", "samples", "command"} == set(config)
    assert "other_metrics" not in config["command"]
    assert 4 == len(asked)


def test_what_python_began_is_replayed_by_command(here: Path, asked: list[int]) -> None:
    """Metrics that Python named are loaded again by their places."""
    name = (here / "name").read_text("utf-8")
    app: Any = __import__(name)
    rows = [json.loads(line) for line in (here / "rows.jsonl").read_text("utf-8").splitlines()]
    metrics = {"exact": lf.exact_match(), "short": app.brief, "graded": app.judge}
    with (
        SqliteStore(here / "lmflow.db") as store,
        lf.Sync("openai/gpt-5-mini", store) as ex,
    ):
        evaluation = ex.evaluate(app.answer, rows, metrics)
    assert evaluation.root == done(here, f"replay {evaluation.run}")["result"]
    again: Any = done(here, f"resume {evaluation.run}")
    assert ["exact", "short", "graded"] == list(again["means"])
    assert 8 == len(asked)
