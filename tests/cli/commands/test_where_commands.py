"""One language of conditions in the commands that list, sum, score and plan what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint
from traffic_folder import PRICE, traffic_folder

import lmflow as lf


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of two evaluations of four rows, one of which fails, and a run."""
    return traffic_folder(tmp_path, monkeypatch)


def kinds(here: Path, *conditions: str) -> list[str]:
    """The kinds of the runs that conditions choose."""
    where = " ".join(f"--where '{text}'" for text in conditions)
    return [row["kind"] for row in done(here, f"runs ls {where}")]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["kind=evaluate"], ["evaluate", "evaluate"]),
        (["kind!=evaluate"], ["run"]),
        (["version=main"], ["evaluate"]),
        (["version=main^"], ["run", "evaluate"]),
        (["version!=main"], ["run", "evaluate"]),
        (["error~PARSE"], ["evaluate", "evaluate"]),
        (["error=ParseFailure", "version=main"], ["evaluate"]),
        (["score<0.5"], ["evaluate"]),
        (["score.brief=1"], ["evaluate"]),
        (["calls>3"], ["evaluate", "evaluate"]),
        (["cost<=$0.00012"], ["run"]),
        (["tokens>=500", "version=prod"], ["evaluate"]),
        (["step=answer", "model~scripted"], ["run", "evaluate", "evaluate"]),
        (["step=search", "model~scripted"], []),
        (["tool=search"], ["run", "evaluate", "evaluate"]),
        (["attempt>1"], []),
        (["label=e3"], ["evaluate", "evaluate"]),
        (["input.question~LONG?"], ["run"]),
        (["output.answer~believe"], ["evaluate"]),
        (["output.sure=true"], ["run", "evaluate", "evaluate"]),
        (["started>=2026-01-01", "started>=1h"], ["run", "evaluate", "evaluate"]),
        (["started<2026-01-01"], []),
        (["run=last"], ["run"]),
        (["program~rewrite", "status=done"], ["run", "evaluate", "evaluate"]),
    ],
    ids=str,
)
def test_runs_are_chosen(here: Path, conditions: list[str], expected: list[str]) -> None:
    """A field is the run's, or one execution's and one call's of it."""
    assert expected == kinds(here, *conditions)


def test_runs_have_columns_of_cost_and_score(here: Path) -> None:
    """Dollars and the mean of the scores, also as JSON."""
    rows = done(here, "runs ls --where kind=evaluate")
    assert [{"brief": 0.0}, {"brief": 1.0}] == [row["scores"] for row in rows]
    assert [500 * PRICE / 1e9] * 2 == [row["usd"] for row in rows]
    first, *lines = call(here, "runs ls").stdout.splitlines()
    assert ["cost", "score"] == first.split()[-2:]
    assert ["$0.0005", "0"] == lines[1].split()[-2:]


def test_calls_are_listed(here: Path) -> None:
    """Fields of calls are theirs, other fields those of their executions and runs."""
    rows = done(here, "runs calls --where step=answer --where version=main --limit 99")
    assert {"answer"} == {row["step"] for row in rows}
    assert 5 == len(rows)
    failed = done(here, "runs calls --where error~parse --where kind=tool")
    assert [("search", "ex[e3]", 1)] * 2 == [
        (row["model"], row["label"], row["attempt"]) for row in failed
    ]
    assert 3 == len(done(here, "runs calls last"))
    assert 4 == len(done(here, f"runs calls {failed[0]['run']}/e3"))
    listed = call(here, "runs calls --limit 2")
    assert "2 of 29 shown; more: " in listed.stderr
    assert "--before" in listed.stderr
    assert "more" not in call(here, "runs calls --limit 99").stderr


def test_executions_are_shown(here: Path) -> None:
    """``runs show --where`` shows only the executions that fulfil all, of all runs or of one."""
    text = call(here, "runs show --where status=failed").stdout
    assert (2, 0) == (text.count("ex[e3]"), text.count("ex[e1]"))
    (run,) = done(here, "runs ls --where version=main")
    (shown,) = done(here, f"runs show {run['id']} --where status=failed")
    assert ["ex[e3]"] == [item["label"] for item in shown["items"]]
    assert "which run?" in call(here, "runs show").stderr
    assert "2 of 9 shown" in call(here, "runs show --where seconds>=0 --limit 2").stderr


def test_words_and_conditions_search_together(here: Path) -> None:
    """A call has the words and fulfils the conditions."""
    hits = done(here, "runs search believe --where score=0")
    assert 3 == len(hits)
    assert [] == done(here, "runs search believe --where version=prod")


def test_chosen_executions_are_exported(here: Path) -> None:
    """``runs export --where`` writes the calls of the executions that fulfil all."""
    rows = [
        json.loads(line)
        for line in call(here, "runs export --where status=failed").stdout.splitlines()
    ]
    assert 8 == len(rows)
    assert {"ex[e3]"} == {row["label"] for row in rows}


def test_bad_answers_become_examples(here: Path) -> None:
    """Failed executions are examples without outputs if a condition asks for them."""
    done(here, "dataset from-runs --where score.brief=0 --name bad")
    done(here, "dataset from-runs --where status=failed --name failed")
    with lf.SqliteStore(here / "lmflow.db") as store:
        assert {"It takes two minutes in all, I believe."} == {
            row.answer for row in store.dataset("bad")
        }
        assert [{"question": "How long, 3?"}] == [dict(row) for row in store.dataset("failed")]


@pytest.mark.parametrize("by", ["day", "version", "step", "model", "run"])
def test_costs_are_summed(here: Path, by: str) -> None:
    """However calls are grouped, the sums are the same."""
    found = done(here, f"costs --by {by}")
    total = found["total"]
    assert (29, 0, 1120 * PRICE / 1e9) == (total["calls"], total["reused"], total["usd"])
    assert 29 == sum(row["calls"] for row in found["rows"])
    assert 1120 == sum(row["tok_in"] for row in found["rows"])
    sizes = {"day": 1, "version": 2, "step": 3, "model": 2, "run": 3}
    assert sizes[by] == len(found["rows"])


def test_what_is_reused_costs_once(here: Path) -> None:
    """A copied reply adds to no sum but its own count."""
    before = done(here, "costs --by run")["total"]
    with lf.SqliteStore("lmflow.db") as store:
        run = store.run(store.runs(1)[0].id)
        program = _program(here)
        lf.Sync(store=store, model=lf.scripted(lambda _: "x")).replay(run, program)
    found = done(here, "costs --by run")
    assert before["usd"] == found["total"]["usd"]
    assert before["calls"] == found["total"]["calls"]
    assert 3 == found["total"]["reused"]
    by_step = done(here, "costs --by step --where kind=what_if")["rows"]
    assert [0, 0, 0] == [row["calls"] for row in by_step]


def _program(here: Path) -> Any:
    import importlib  # noqa: PLC0415 - the folder's own module

    return importlib.import_module((here / "name").read_text("utf-8")).rag


def test_unknown_prices_are_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum without a price says so, in a mark, a column and a line."""
    with endpoint("[[answer]]\nx\n[[sure]]\ntrue") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        done(here, "run app:answer --set question=a --set 'context=[\"b\"]' --model openai/none")
    told = call(here, "costs --by model")
    assert "1 call has no known price" in told.stderr
    assert "$0.00112+?" in told.stdout
    (row,) = done(here, "costs --by model --where model=openai/none")["rows"]
    assert (1, None) == (row["unpriced"], row["usd"])


def test_executions_are_scored_anew(here: Path) -> None:
    """A metric scores old outputs against their examples; earlier scores stay."""
    (run,) = done(here, "runs ls --where version=main")
    scores = done(here, f"score {run['id']} --metric app:right")
    assert [0.0, 1.0, 1.0] == [score["value"] for score in scores]
    (run,) = done(here, "runs ls --where version=main")
    assert {"brief": 0.0, "right": pytest.approx(2 / 3)} == run["scores"]
    text = call(here, "score --where kind=evaluate --metric app:right --name again")
    assert "again 0.667 on average over 6 executions" in text.stdout
    assert "2 have no outputs and no score" in text.stderr
    assert 29 == done(here, "costs")["total"]["calls"]


def test_one_execution_of_a_run_is_scored(here: Path) -> None:
    """``RUN/e1`` names it; its example comes with it."""
    (run,) = done(here, "runs ls --where version=main")
    (score,) = done(here, f"score {run['id']}/e0 --metric app:right")
    assert 0.0 == score["value"]
    done(here, f"score {run['id']}/e1 --name helpful --value 1")
    assert 1 == len(done(here, "runs calls --where score.helpful=1 --where step=rewrite"))


def test_a_judge_needs_a_model(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that would send calls says how many; with a model it judges in a run of its own."""
    told = call(here, "score --where version=main --metric app:judge")
    assert (1, True) == (
        told.exit_code,
        "a judge, which calls a model for each of 3" in told.stderr,
    )
    with endpoint("[[score]]\n0.25") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        line = "score --where version=main --metric app:judge --model openai/none --budget-calls 3"
        assert [0.25] * 3 == [score["value"] for score in done(here, line)]
    assert 3 == done(here, "costs --where run=last")["total"]["calls"]


def test_traffic_is_priced_under_a_version(here: Path) -> None:
    """What the chosen executions cost, and would cost: least to most, nothing sent."""
    found = done(here, "replay --where kind=evaluate --version main")
    assert (8, 4) == (found["executions"], found["changed"])
    assert 1000 * PRICE == found["recorded"]["cost"]
    assert (25, 26) == (found["under"]["least"]["calls"], found["under"]["most"]["calls"])
    replay = found["replay"]
    assert (21, 4, 5) == (
        replay["reused"]["calls"],
        replay["least"]["calls"],
        replay["most"]["calls"],
    )
    assert found["under"]["least"]["cost"] > found["recorded"]["cost"] - 30_000
    text = call(here, "replay --where kind=evaluate --version main").stdout
    assert text.startswith("8 executions of 2 runs, 4 of them changed under main (")
    assert "Nothing was sent." in text
    assert 29 == done(here, "costs")["total"]["calls"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runs ls --where secnds>5", "Did you mean 'seconds'?"),
        ("runs ls --where status=faild", "Did you mean 'failed'?"),
        ("runs ls --where version=mian", "Did you mean 'main'?"),
        ("runs ls --where started>soon", "'soon' is not a time"),
        ("runs calls --where run=zzz", "no run 'zzz'"),
        ("costs --where cost>much", "cost is a number"),
        ("replay --where kind=evaluate --version main --live", "replays one run"),
        ("replay --where kind=serve --version main", "no execution to plan"),
        ("replay", "which run?"),
        ("score --metric app:right", "which run?"),
        ("score --where kind=serve --metric app:right", "no outputs to score"),
        ("score last --metric app:right --where kind=evaluate", "no outputs to score"),
        ("dataset from-runs --where score>9 --name x", "no execution matches"),
        ("runs show ex[e1]", "2 executions have it"),
        ("runs show last/e1", "its executions have no labels"),
        ("runs show prod", "is a ref, not a run"),
        ("why ex[e33]", "Near: ex[e3]"),
    ],
)
def test_a_mistake_is_told(here: Path, line: str, said: str) -> None:
    """Each mistake is one line with what was found and what mends it."""
    result = call(here, line)
    assert 1 == result.exit_code, result.output
    assert said in result.stderr
    assert 1 == len(result.stderr.strip().splitlines())


def test_names_of_executions_are_the_same_everywhere(here: Path) -> None:
    """An id, its end, RUN/LABEL and ``last`` name an execution for each command."""
    (run,) = done(here, "runs ls --where version=main")
    place = f"{run['id'][-8:]}/e1"
    (item,) = done(here, f"runs show {place}")["items"]
    assert "ex[e1]" == item["label"]
    assert item["id"] == done(here, f"why {place}")["trace"]
    assert done(here, f"replay {place}")["same"]
    assert json.dumps(item["version"]) == json.dumps(done(here, f"show {place}")["id"])
    assert [] == done(here, f"diff {place} main")["changes"]
    assert done(here, "verify last")["sound"]
    assert done(here, "status last --program app:rag")["version"]
    assert 3 == len(call(here, f"runs export {place}").stdout.splitlines())


def test_a_part_of_a_run_has_the_root_of_the_run_or_none(here: Path) -> None:
    """A single execution is counted, and never shown with a root that no run has."""
    run = done(here, "runs ls --where kind=evaluate --limit 1")[0]["id"]
    whole = done(here, f"runs show {run}")
    assert whole["root"] == done(here, f"runs show {run}/e1")["root"]
    assert f"root {whole['root'][6:18]}" in call(here, f"runs show {run}").stdout
    for part in (f"{run}/e1", f"{run} --where label=e1"):
        head = call(here, f"runs show {part}").stdout.splitlines()[0]
        assert head.endswith("  1 of 4 traces")
