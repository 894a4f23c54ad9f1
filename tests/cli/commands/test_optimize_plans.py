"""`lmflow optimize` plans for its budget, by `auto` unless told otherwise, and says what it buys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commanding import call, done, endpoint

LINE = (
    "optimize app:answer --train rows.jsonl --metric exact_match:answer --model openai/gpt-5-mini"
    " --dry-run"
)


@pytest.fixture(autouse=True)
def examples(here: Path) -> None:
    """A data file of 120 rows beside the program."""
    rows = (json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) for n in range(120))
    (here / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")


def planned(here: Path, line: str) -> str:
    """The plan that a line prints."""
    result = call(here, line)
    assert 0 == result.exit_code, result.output
    return result.stdout


def test_the_plan_says_what_the_budget_buys(here: Path) -> None:
    """Without an optimizer it is auto; of 300 calls the judging takes 48."""
    text = planned(here, f"{LINE} --split .5,.3,.2 --budget-calls 300")
    assert "auto of answer: train 60, select 36, held 24" in text
    assert "6 proposals, 3 rewritings and about 22 comparisons of 10 rows" in text
    assert "that is   300 calls" in text


def test_a_small_budget_says_that_it_is_no_search(here: Path) -> None:
    """Fewer than three proposals are not made."""
    text = planned(here, f"{LINE} --budget-calls 60")
    assert "fewer than 3 proposals is no search, so it will only choose demonstrations" in text


def test_dollars_are_said_as_calls(here: Path) -> None:
    """A budget of dollars is planned by the estimated price of a call."""
    text = planned(here, f"{LINE} --budget-usd 0.5")
    assert "schedule  at about" in text
    assert "calls it buys" in text


@pytest.mark.parametrize("name", ["mipro", "gepa", "random_search", "simba"])
def test_other_searches_plan_for_the_budget_too(here: Path, name: str) -> None:
    """Their schedule is said, unless a size is given."""
    line = f"{LINE} --split .5,.5 --budget-calls 300 --optimizer {name}"
    assert "schedule  buys" in planned(here, line)
    size = {"mipro": "trials", "gepa": "iterations", "simba": "steps"}.get(name, "candidates")
    assert "schedule" not in planned(here, f"{line} --option {size}=2")


def test_folds_are_several_searches(here: Path) -> None:
    """Five folds are six searches, each with its part of the budget."""
    text = planned(here, f"{LINE} --folds 5 --budget-calls 1000")
    assert "schedule  makes 6 searches, each of which buys" in text


def test_a_planned_search_replays_and_resumes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that was fitted to a budget replays to its version, and resumed it sends nothing."""
    chats: list[int] = []
    with endpoint(asked=lambda: chats.append(1)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
        line = f"{LINE.removesuffix(' --dry-run')} --split .5,.3,.2 --budget-calls 110"
        first = done(here, line)
        sent = len(chats)
        assert 48 < sent <= 110
        assert done(here, f"replay {first['run']}")["same"]
        again = done(here, f"resume {first['run']}")
    assert sent == len(chats)
    assert first["version"] == again["version"]
