"""`lmflow optimize` plans for its budget, by `auto` unless told otherwise, and says what it buys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmflow.cli.main import main

APP = 'import lmflow as lf\n\nqa = lf.predict("qa", "question -> answer", "Answer. Be brief.")\n'
LINE = (
    "optimize plans:qa --train rows.jsonl --metric exact_match:answer --model openai/gpt-5-mini"
    " --dry-run"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program and 120 rows."""
    (tmp_path / "plans.py").write_text(APP, encoding="utf-8")
    rows = (json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) for n in range(120))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def planned(line: str) -> str:
    """The plan that a line prints."""
    result = CliRunner().invoke(main, line.split())
    assert 0 == result.exit_code, result.output
    return result.stdout


@pytest.mark.usefixtures("here")
def test_the_plan_says_what_the_budget_buys() -> None:
    """Without an optimizer it is auto; of 300 calls the judging takes 48."""
    text = planned(f"{LINE} --split .5,.3,.2 --budget-calls 300")
    assert "auto of qa: train 60, select 36, held 24" in text
    assert "6 proposals, 3 rewritings and about 22 comparisons of 10 rows" in text
    assert "that is   300 calls" in text


@pytest.mark.usefixtures("here")
def test_a_small_budget_says_that_it_is_no_search() -> None:
    """Fewer than three proposals are not made."""
    text = planned(f"{LINE} --budget-calls 60")
    assert "fewer than 3 proposals is no search, so it will only choose demonstrations" in text


@pytest.mark.usefixtures("here")
def test_dollars_are_said_as_calls() -> None:
    """A budget of dollars is planned by the estimated price of a call."""
    text = planned(f"{LINE} --budget-usd 0.5")
    assert "schedule  at about" in text
    assert "calls it buys" in text


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["mipro", "gepa", "random_search", "simba"])
def test_other_searches_plan_for_the_budget_too(name: str) -> None:
    """Their schedule is said, unless a size is given."""
    line = f"{LINE} --split .5,.5 --budget-calls 300 --optimizer {name}"
    assert "schedule  buys" in planned(line)
    size = {"mipro": "trials", "gepa": "iterations", "simba": "steps"}.get(name, "candidates")
    assert "schedule" not in planned(f"{line} --option {size}=2")


@pytest.mark.usefixtures("here")
def test_folds_are_several_searches() -> None:
    """Five folds are six searches, each with its part of the budget."""
    text = planned(f"{LINE} --folds 5 --budget-calls 1000")
    assert "schedule  makes 6 searches, each of which buys" in text
