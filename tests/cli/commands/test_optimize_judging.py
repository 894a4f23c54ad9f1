"""The judging of an optimization on the command line: planned, within the budget, and less of it on
request.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done, endpoint

LINE = (
    "optimize app:answer --optimizer labeled_few_shot --train train.jsonl --held held.jsonl"
    " --metric exact_match:answer --model openai/gpt-5-mini"
)
SEARCH = (
    "optimize app:answer --optimizer random_search --train all.jsonl --split .5,.5"
    " --metric exact_match:answer --model openai/gpt-5-mini --concurrency 1"
)


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A folder with data, and an endpoint that counts the chats that it answers."""
    chats: list[int] = []
    for name, numbers in {"train": range(4), "held": range(10, 18)}.items():
        rows = ({"id": f"e{n}", "question": f"How {n}?", "answer": "x"} for n in numbers)
        (here / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with endpoint(asked=lambda: chats.append(1)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
        yield chats


def test_the_plan_has_a_line_of_the_judging(here: Path, asked: list[int]) -> None:
    """Sixteen calls judge two versions on eight rows; nothing is sent."""
    text = call(here, f"{LINE} --dry-run").stdout
    assert "judging   16 rollouts on 8 held-back examples, 16 calls" in text
    assert 16 == done(here, f"{LINE} --dry-run")["calls"]
    assert [] == asked


@pytest.mark.parametrize("more", ["", "--dry-run"])
def test_a_budget_that_cannot_judge_is_refused(here: Path, asked: list[int], more: str) -> None:
    """Nothing is sent, and the line that mends it is printed."""
    result = call(here, f"{LINE} --budget-calls 2 {more}")
    assert 1 == result.exit_code
    assert "--judge-rows N, --no-judge" in result.output
    assert [] == asked


@pytest.mark.parametrize(
    ("more", "calls"), [("", 16), ("--judge-rows 3", 6), ("--judge-rows 0", 0), ("--no-judge", 0)]
)
def test_what_is_spent_is_what_was_sent(
    here: Path, asked: list[int], more: str, calls: int
) -> None:
    """The plan, the report and the endpoint agree, judged in whole, in part or not at all."""
    plan: Any = done(here, f"{LINE} {more} --dry-run")
    result: Any = done(here, f"{LINE} {more} --budget-calls 16")
    assert {calls} == {plan["judging"]["calls"], result["judging"]["calls"], len(asked)}
    assert calls == result["spent"]["calls"]
    assert bool(calls) == (not result["not_judged"])


def test_what_was_judged_is_not_paid_twice(here: Path, asked: list[int]) -> None:
    """A resumed optimization judges as many rows as its command said, from the record."""
    result: Any = done(here, f"{LINE} --judge-rows 3")
    again: Any = done(here, f"resume {result['run']}")
    assert (6, result["version"]) == (len(asked), again["version"])


def test_an_optimization_that_was_killed_replays(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store of a run that never ended replays to its version so far, which nobody stored."""
    chats: list[int] = []

    def answer() -> str:
        """Wrong for the start, right for what comes after; the store is copied in between."""
        chats.append(1)
        if len(chats) == 8:
            with (
                closing(sqlite3.connect("lmflow.db")) as store,
                closing(sqlite3.connect("cut.db")) as copy,
            ):
                store.backup(copy)
        return "z" if len(chats) <= 3 else "x"

    rows = ({"id": f"e{n}", "question": f"How {n}?", "answer": "x"} for n in range(6))
    (here / "all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with endpoint(answer) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
        done(here, SEARCH)
    (run,) = done(here, "runs ls --store cut.db")
    replayed = done(here, f"replay {run['id']} --store cut.db")
    assert ("open", True) == (run["status"], replayed["same"])
    assert 1 == call(here, f"show {replayed['result']} --store cut.db").exit_code
    assert "The run never ended" in call(here, f"replay {run['id']} --store cut.db").stdout
