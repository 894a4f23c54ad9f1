"""The commands bisect and why, on a real server of a model; and the mistakes of replay commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_folder import (
    Model,
    base,
    call,
    chain_folder,
    done,
    recorded,
    saved,
    serving_model,
    words,
)
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main


@pytest.fixture
def model() -> Iterator[Model]:
    """The server while a test lasts."""
    with serving_model() as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """An empty folder with a program, three inputs, and the server as OpenAI's."""
    return chain_folder(tmp_path, monkeypatch, model)


def line_of(count: int, loud: int) -> list[lf.Version]:
    """A line of versions, loud from one on."""
    versions = [base()]
    for number in range(1, count):
        text = f"Sign, take {number}{', loud' if number >= loud else ''}."
        versions.append(versions[-1].put({"sign.instruction": text}, note=f"take {number}"))
    return versions


@pytest.mark.parametrize("loud", [1, 5, 9])
def test_bisect_finds_the_version_that_broke_it(here: Path, model: Model, loud: int) -> None:
    """It judges few versions, each at the price of its one changed call, and quotes the price
    first.
    """
    run = recorded(here)
    versions = line_of(10, loud)
    saved("prod", *versions)
    sent = len(model.seen)
    line = f"bisect {versions[0].id} prod --run {run} --example 1 --metric app:short"
    assert (None, sent) == (done(here, line)["found"], len(model.seen))
    assert "at most 5 more are needed, each at most 1 call, about" in call(here, line).stderr
    found = done(here, f"{line} --live")["found"]
    assert {"good": versions[loud - 1].id, "bad": versions[loud].id} == found
    asked = len(model.seen) - sent
    assert 2 <= asked <= 5
    assert (found, sent + asked) == (done(here, line)["found"], len(model.seen))


def test_bisect_takes_an_example_as_json(here: Path, model: Model) -> None:
    """An example that was never run is run."""
    run = recorded(here)
    versions = line_of(3, 2)
    saved("prod", *versions)
    line = [
        "bisect",
        versions[0].id,
        "prod",
        "--run",
        run,
        "--metric",
        words(here, "app:short")[0],
        "--live",
        "--json",
    ]
    result = CliRunner().invoke(main, [*line, "--example", '{"text": "n"}'])
    assert versions[2].id == json.loads(result.stdout)["found"]["bad"]
    assert 9 < len(model.seen)


def labelled(here: Path) -> str:
    """Evaluate the chain on three examples with a reference; return the run."""
    rows = [{"id": f"e{n}", "text": f"t{n}", "signed": f"t{n}..."} for n in range(3)]
    (here / "dev.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    line = "eval app:chain --data dev.jsonl --metric exact_match:signed --model openai/test"
    return str(done(here, line)["run"])


METRICS = ["contains:signed", "exact_match:signed", "app:right"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("model")
def test_a_label_stands_for_the_whole_example(here: Path, metric: str) -> None:
    """The metric reads the reference of the run's data set, though its file is gone."""
    run, versions = labelled(here), line_of(6, 4)
    saved("prod", *versions)
    (here / "dev.jsonl").unlink()
    line = f"bisect {versions[0].id} prod --run {run} --example e1 --metric {metric} --live"
    assert {"good": versions[3].id, "bad": versions[4].id} == done(here, line)["found"]


def test_the_first_bad_of_the_recorded_is_told(here: Path, model: Model) -> None:
    """Without --live the versions that recordings answer already narrow it down."""
    run, versions = labelled(here), line_of(6, 3)
    saved("prod", *versions)
    for version in (versions[2], versions[4]):
        done(here, f"replay {run} --version {version.id} --live")
    before = len(model.seen)
    line = f"bisect {versions[0].id} prod --run {run} --example e1 --metric exact_match:signed"
    result = done(here, line)
    assert (None, {"good": versions[2].id, "bad": versions[4].id}) == (
        result["found"],
        result["recorded"],
    )
    text = call(here, line).stdout
    assert f"first bad of the recorded: {versions[4].id[6:18]}" in text
    assert before == len(model.seen)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bisect GOOD prod --run RUN --example e1 --metric app:raises", "KeyError: 'nothing'"),
        ("score RUN --metric app:raises", "KeyError: 'nothing'"),
        ("bisect GOOD prod --run RUN --example e1 --metric app:words", "it gave a str"),
        ("bisect GOOD prod --run RUN --example e1 --metric contians:signed", "'contains'"),
        ("score RUN --metric contians", "'contains'"),
        ("eval app:chain --data dev.jsonl --metric app:raises --model openai/test", "KeyError"),
        ("bisect GOOD prod --example '{\"text\": 1' --run RUN --metric contains:signed", "JSON"),
        ("bisect GOOD prod --example '{}' --run RUN --metric contains:signed", "text"),
    ],
)
def test_a_metric_that_fails_is_one_line(here: Path, model: Model, line: str, words: str) -> None:
    """What a metric raises, and a metric that isn't there, are told alike by every command."""
    run, versions = labelled(here), line_of(3, 2)
    saved("prod", *versions)
    line = line.replace("RUN", run).replace("GOOD", versions[0].id)
    line = line.replace("app:", f"{(here / 'name').read_text('utf-8')}:")
    result = CliRunner().invoke(main, shlex.split(line))
    assert (1, True) == (result.exit_code, words in result.stderr), result.output
    assert re.fullmatch(r"Error: [^\n]+", result.stderr.splitlines()[-1])
    assert model.seen


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_scores_a_recorded_run(here: Path, model: Model, metric: str) -> None:
    """``score --metric`` scores each output against its example, and sends nothing."""
    run = labelled(here)
    before = len(model.seen)
    scores = done(here, f"score {run} --metric {metric} --name again")
    assert ([1.0] * 3, {"again"}) == (
        [score["value"] for score in scores],
        {score["name"] for score in scores},
    )
    assert [1.0] == [
        s["value"] for s in done(here, f"score {run} --metric {metric} --label ex[e1]")
    ]
    assert before == len(model.seen)


def test_the_log_counts_an_example_once(here: Path, model: Model) -> None:
    """Evaluated twice, a version's scores are those of its latest evaluation."""
    labelled(here)
    labelled(here)
    (version,) = done(here, "log")[:1]
    assert {"exact_match": {"mean": 1.0, "n": 3}} == version["scores"]
    assert model.seen


MISTAKES = [
    ("replay RUN --version prd", "prd"),
    ("replay RUN --program app:chan", "Did you mean 'chain'?"),
    ("resume zzz", "no run 'zzz'"),
    ("bisect prod prod --run RUN --example 9 --metric app:short", "has no '9'"),
    ("bisect prod prod --example 1 --metric app:short", "Add --run RUN"),
    ("bisect prod prod --run RUN --example 1 --metric app:shrt", "Did you mean 'short'?"),
    ("bisect prod prod --run RUN --example 1 --metric app:short", "scores"),
    ("why zzz", "no run 'zzz'"),
    ("why RUN", "3 executions. Name one: "),
]


@pytest.mark.parametrize(("line", "told"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_fix(here: Path, model: Model, line: str, told: str) -> None:
    """Each mistake exits with 1 and says what was found and what mends it; nothing is sent."""
    run = recorded(here)
    saved("prod", base())
    result = call(here, line.replace("RUN", run))
    assert (1, True, 9) == (result.exit_code, told in result.stderr, len(model.seen)), result.stderr


def test_why_follows_an_answer_to_its_versions(here: Path, model: Model) -> None:
    """From the output to the calls, to the version that introduced each parameter, to what made a
    demonstration.
    """
    recorded(here)
    demo = {"final": "x", "signed": "y"}
    tuned = base().put(
        {"sign.demos": [demo]}, note="bootstrapped", origin={"sign.demos": ({"example": "e17"},)}
    )
    later = tuned.put({"draft.instruction": "Draft it."}, note="by hand")
    saved("prod", base(), tuned, later)
    done(here, "run app:chain --set text=a --model openai/test --version prod")
    (run, *_) = done(here, "runs ls")
    data = done(here, f"why {run['id']}")
    calls = {item["address"]: item for item in data["calls"]}
    assert ["sign[0]/call[0]"] == data["from"]["signed"]
    assert ["draft[0]/call[0]"] == calls["polish[0]/call[0]"]["reads"]
    (found,) = calls["sign[0]/call[0]"]["demos"]
    assert (tuned.id, "bootstrapped", {"example": "e17"}) == (
        found["version"],
        found["note"],
        found["origin"],
    )
    since = {source["path"]: source["version"] for source in calls["draft[0]/call[0]"]["params"]}
    assert later.id == since["draft.instruction"]
    text = call(here, f"why {run['id']}").stdout
    assert 'made by {"example": "e17"}' in text
    assert len(model.seen) == 12
