"""What people type from habit: git's names, ranges and paths, for versions of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from commanding import call
from versions_folder import FIRST, SIDE, TUNED, data, said, versions_folder

import lmflow as lf


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, and a store with ``prod`` (first, then tuned) and ``side``."""
    return versions_folder(tmp_path, monkeypatch)


PATH = "answer.instruction"


@pytest.mark.parametrize(
    "line", ["diff prod..side", "diff prod side", f"diff {TUNED.id[6:20]}..side"]
)
def test_a_range_is_two_versions(here: Path, line: str) -> None:
    """``A..B`` compares A with B."""
    found = data(here, line)
    assert (TUNED.id, SIDE.id) == (found["a"], found["b"])
    assert 3 == len(found["changes"])


def test_three_dots_begin_at_the_common_ancestor(here: Path) -> None:
    """``A...B`` shows what B changed since both were one."""
    found = data(here, "diff prod...side")
    assert (FIRST.id, SIDE.id) == (found["a"], found["b"])


def test_one_version_is_compared_with_its_parent(here: Path) -> None:
    """``diff prod`` is what prod changed; of a version without parents all that it holds."""
    found = data(here, "diff prod")
    assert (FIRST.id, TUNED.id) == (found["a"], found["b"])
    assert "prod^..prod" in call(here, "diff prod").stderr
    assert len(FIRST.params) == len(data(here, "diff prod^")["changes"])


def test_a_version_is_compared_with_the_code(here: Path) -> None:
    """With a program the other side are the defaults of today."""
    found = data(here, "diff prod --program app:changed")
    assert ["answer.demos", PATH] == [change["path"] for change in found["changes"]]


def test_paths_limit_a_diff(here: Path) -> None:
    """A path or a step, after one version, two, or a range."""
    for line in (f"diff prod {PATH}", f"diff prod^ prod {PATH}", f"diff prod^..prod {PATH}"):
        assert [PATH] == [change["path"] for change in data(here, line)["changes"]]
    assert 2 == len(data(here, "diff prod^ prod answer")["changes"])


def test_one_parameter_is_shown(here: Path) -> None:
    """``show prod PATH`` prints the text alone; ``prod:PATH`` too."""
    text = "Answer from the context, in one word.\n"
    assert text == said(here, f"show prod {PATH}")
    assert text == said(here, f"show prod:{PATH}")
    assert "in a few words" in said(here, f"show prod^ {PATH}")
    assert {"version": TUNED.id, "path": PATH, "value": text.strip()} == data(
        here, f"show prod {PATH}"
    )
    assert "answer: a" in said(here, "show prod answer.demos")
    assert "Did you mean 'answer.instruction'?" in call(here, "show prod answer.instructon").stderr


def test_all_parameters_are_blamed(here: Path) -> None:
    """``blame prod`` goes through all that are not empty."""
    rows = data(here, "blame prod")
    assert {"answer.demos": TUNED.id, PATH: TUNED.id} == {r["path"]: r["version"] for r in rows}
    text = said(here, "blame prod")
    assert f"{PATH}\n  {TUNED.id[6:18]}" in text
    assert "answer.model" not in text


def test_words_are_followed(here: Path) -> None:
    """``log -S`` lists the versions that introduced or removed words, and where."""
    rows = data(here, "log prod -S 'one word'")
    assert [TUNED.id] == [row["id"] for row in rows]
    assert [{"path": PATH, "before": 0, "after": 1}] == rows[0]["changes"]
    assert [TUNED.id, FIRST.id] == [row["id"] for row in data(here, "log prod -S 'few words'")]
    assert "   -1 answer.instruction\n" in said(here, "log -S 'few words' --oneline")
    assert [] == data(here, "log -S nowhere")
    assert said(here, "log -S nowhere").startswith("No version")


def test_a_log_is_limited(here: Path) -> None:
    """To a path, to what one side lacks, to a line per version, to a number."""
    assert [SIDE.id, FIRST.id] == [row["id"] for row in data(here, "log side answer.options")]
    assert [TUNED.id] == [row["id"] for row in data(here, "log side..prod")]
    assert f"{SIDE.id[6:18]}  (side)  seeded\n" == said(here, "log side --oneline -n 1")
    assert [TUNED.id] == [row["id"] for row in data(here, "log prod -n 1")]


def test_the_reflog_is_a_place_in_time(here: Path) -> None:
    """``prod@{1}`` is where prod was before its last move."""
    assert FIRST.id == data(here, "show prod@{1}")["id"]
    assert TUNED.id == data(here, "show prod@{today}")["id"]
    found = data(here, "diff prod@{1}..prod")
    assert (FIRST.id, TUNED.id) == (found["a"], found["b"])
    done = call(here, "rollback prod --to prod@{1}")
    assert 0 == done.exit_code, done.output
    assert FIRST.id == data(here, "show prod")["id"]


def test_a_merge_has_two_parents(here: Path) -> None:
    """``^2`` is the side that was merged."""
    assert 0 == call(here, "merge prod side").exit_code
    assert SIDE.id == data(here, "show prod^2")["id"]
    assert TUNED.id == data(here, "show prod^")["id"]
    assert FIRST.id == data(here, "show prod^2~1")["id"]


def test_a_run_stands_for_its_version(here: Path) -> None:
    """Where a version is taken, the id of a run is, if it ran under one."""
    answer = lf.predict("answer", "question -> answer", "Answer from the context, in a few words.")
    with lf.SqliteStore("lmflow.db") as store:
        trace = lf.run(
            answer, version="prod", model=lf.scripted(lambda _: "x"), store=store, question="q"
        )
    assert TUNED.id == data(here, f"show {trace.id}")["id"]
    assert [] == data(here, "diff last prod")["changes"]
    assert [TUNED.id, FIRST.id] == [row["id"] for row in data(here, "log last")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("diff prod..", "write A..B"),
        ("diff prod..mian", "no ref or version 'mian'"),
        ("show prod~7", "The line of 'prod' has 1 ancestors"),
        ("show prod^2", "has 1 parent."),
        ("show prod@{9}", "was moved 2 times"),
        ("log prod answer.demo", "Did you mean 'answer.demos'?"),
        ("log ..prod", "write A..B"),
        ("show prdo", "Did you mean 'prod'?"),
        ("blame prod answer.x", "there is no `answer.x`"),
    ],
)
def test_a_mistake_is_told(here: Path, line: str, told: str) -> None:
    """Each mistake is one line with what there is."""
    result = call(here, line)
    assert (1, True) == (result.exit_code, told in result.stderr), result.stderr
    assert 1 == len(result.stderr.strip().splitlines())


def test_a_mistyped_id_names_a_near_one(here: Path) -> None:
    """Digits that are nearly those of a version are told."""
    digits = TUNED.id[6:18]
    wrong = digits[:5] + ("0" if digits[5] != "0" else "1") + digits[6:]
    assert f"Did you mean '{digits}'?" in call(here, f"show {wrong}").stderr
