"""The commands of versions: what is live, what changed, who changed it, and how to go back."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from versions_folder import (
    ANSWER,
    FIRST,
    OLD_DIGITS,
    SIDE,
    TUNED,
    data,
    edits,
    refs,
    said,
    versions_folder,
)

import lmflow as lf
from lmflow.cli.text.versions import diff_text, side_by_side


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, and a store with two refs."""
    return versions_folder(tmp_path, monkeypatch)


def test_log_lists_a_line_with_refs_and_notes(here: Path) -> None:
    """Ancestors by the latest first; without a name, what was kept last."""
    assert [TUNED.id, FIRST.id] == [row["id"] for row in data(here, "log prod")]
    assert [SIDE.id, TUNED.id, FIRST.id] == [row["id"] for row in data(here, "log")]
    assert [FIRST.id] == [row["id"] for row in data(here, "log prod~1 --limit 1")]
    assert f"{TUNED.id[6:18]}  (prod)  shorter\n" in said(here, "log prod")


def test_log_tells_parents_that_are_not_kept(here: Path) -> None:
    """A line that ends before its beginning says so."""
    lone = lf.Version(params=FIRST.params, parents=("v1:b2:" + "ab" * 32,))
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "lone", lone)
    assert "parent abababababab is not in this store" in said(here, "log lone")


def test_show_reads_as_a_person_reads(here: Path) -> None:
    """Each parameter by its path; demonstrations by field."""
    text = said(here, "show prod")
    assert "answer.instruction\n  Answer from the context, in one word.\n" in text
    assert "  1  answer: a\n     question: q\n" in text
    assert TUNED.id == data(here, f"show {TUNED.id[6:12]}")["id"]


def test_show_renders_the_exact_messages(here: Path) -> None:
    """What the step would send under the version; inputs that aren't given are shown by name."""
    expected = [
        {"role": m.role, "content": m.content}
        for m in lf.render(ANSWER, {"question": "Why?"}, TUNED)
    ]
    assert expected == data(
        here, "show prod --render answer --program app:answer --set question=Why?"
    )
    assert "[[question]]\n{question}" in said(
        here, "show prod --render answer --program app:answer"
    )


def test_diff_marks_words(here: Path) -> None:
    """Words that went and came, demonstrations that were added; nothing where nothing differs."""
    text = said(here, "diff prod~1 prod")
    assert "in [-a few words-]{+one word+}." in text
    assert '+ demo 1: {"answer": "a", "question": "q"}' in text
    assert "no difference\n" == said(here, "diff prod prod")


def test_diff_counts(here: Path) -> None:
    """``--stat`` has a line a path, and their number."""
    expected = "answer.demos  demos: 1 added\nanswer.instruction  +2 -3 words\n2 paths changed\n"
    assert expected == said(here, "diff prod~1 prod --stat")


def test_diff_is_json(here: Path) -> None:
    """Both ids, and each change with both sides and its detail."""
    found = data(here, "diff prod~1 prod")
    assert (FIRST.id, TUNED.id) == (found["a"], found["b"])
    demos, words = found["changes"]
    assert [{"kind": "added", "now": 0, "after": {"question": "q", "answer": "a"}}] == demos[
        "demos"
    ]
    assert {"kind": "insert", "text": "one word"} in words["words"]


def test_diff_stands_side_by_side(here: Path) -> None:
    """Two columns, with the earlier words left and the later ones right, in colour."""
    assert "answer.instruction" in said(here, "diff prod~1 prod --side-by-side")
    text = re.sub(r"\x1b\[[0-9;]*m", "", side_by_side(lf.diff(FIRST, TUNED), ("a", "b"), 160))
    (row,) = [one for one in text.splitlines() if "context" in one]
    assert row.index("a few words") < row.index("one word")
    assert "\x1b[31m" in side_by_side(lf.diff(FIRST, TUNED), ("a", "b"), 100)
    assert "\x1b[32mone word" in diff_text(lf.diff(FIRST, TUNED), colour=True)


HOSTILE = "show hostile; log hostile; blame hostile answer.instruction; diff prod hostile; diff prod hostile --stat"


@pytest.mark.parametrize("shown", [*HOSTILE.split("; "), "diff prod hostile --side-by-side"])
def test_what_a_model_wrote_can_t_write_to_the_terminal(here: Path, shown: str) -> None:
    """Control characters of a version are shown as replacement characters."""
    hostile = TUNED.put(
        {"answer.instruction": "x\x1b]0;owned\x07\x1b[2J", "answer.model": "\x9b1m"},
        note="\x1b[31m",
    )
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "hostile", hostile)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)|\x07|\x9b", said(here, shown))


def test_ref_set_moves_and_tells(here: Path) -> None:
    """A ref is made and moved, with the reason in the reflog."""
    assert f"live: new -> {SIDE.id[6:18]}\n" == said(here, "ref set live side --why trial")
    assert f"live: {SIDE.id[6:18]} -> {TUNED.id[6:18]}\n" == said(here, "ref set live prod")
    assert ["set to prod", "trial"] == [row["why"] for row in data(here, "reflog live")]
    said(here, "ref rm live")
    assert {"prod": TUNED.id, "side": SIDE.id} == refs(here)


def test_rollback_goes_back_and_forth(here: Path) -> None:
    """The last move is taken back, and a rollback is itself taken back; the reflog has all."""
    text = said(here, "rollback prod --dry-run")
    assert "(dry run)" in text
    assert "[-one word-]{+a few words+}" in text
    assert TUNED.id == refs(here)["prod"]
    said(here, "rollback prod --why worse")
    assert FIRST.id == refs(here)["prod"]
    said(here, "rollback prod")
    assert TUNED.id == refs(here)["prod"]
    said(here, f"rollback prod --to {OLD_DIGITS}")
    assert FIRST.id == refs(here)["prod"]
    assert ["rollback: 1 back", "rollback: worse"] == [
        row["why"] for row in data(here, "reflog prod")
    ][1:3]
    assert "better on dev" in said(here, "reflog prod")


def test_edit_commits_what_was_typed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The editor's text is a child version, and the ref points at it."""
    edits(here, monkeypatch, 'echo "Sing." > "$1"')
    said(here, "edit prod answer.instruction --why louder")
    saved = data(here, "show prod")
    assert ("Sing.", [TUNED.id], "louder") == (
        saved["params"]["answer.instruction"],
        saved["parents"],
        saved["note"],
    )


def test_edit_reads_json(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no text is edited as JSON."""
    edits(here, monkeypatch, """echo '{"temperature": 0.5}' > "$1" """)
    said(here, "edit prod answer.options --program app:answer")
    assert {"temperature": 0.5} == data(here, "show prod")["params"]["answer.options"]


def test_edit_without_a_change_is_none(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is left as it is makes no version."""
    edits(here, monkeypatch, "true")
    assert "nothing was changed\n" == said(here, "edit prod answer.demos")
    assert TUNED.id == refs(here)["prod"]


def test_merge_brings_both_together(here: Path) -> None:
    """Two children of one version are merged into the ref; a version that is in it already isn't."""
    said(here, "merge prod side --dry-run")
    assert TUNED.id == refs(here)["prod"]
    said(here, "merge prod side")
    saved = data(here, "show prod")
    assert [TUNED.id, SIDE.id] == saved["parents"]
    assert ({"seed": 1}, 1) == (
        saved["params"]["answer.options"],
        len(saved["params"]["answer.demos"]),
    )
    assert "prod has all of side already\n" == said(here, "merge prod side")
    said(here, "merge side prod")
    assert refs(here)["prod"] == refs(here)["side"]


def test_blame_names_who_introduced_each_part(here: Path) -> None:
    """Version, note and author of each part; what produced it, or that it was written by hand."""
    (demo,) = data(here, "blame prod answer.demos")
    assert (TUNED.id, "ann", {"rollout": "r1", "address": "propose[0]"}) == tuple(
        demo[name] for name in ("version", "author", "origin")
    )
    assert "made by address propose[0], rollout r1" in said(here, "blame prod answer.demos")
    assert "written by hand" in said(here, "blame prod answer.instruction")


def test_blame_leads_to_the_call(here: Path) -> None:
    """An origin that names a call by its key leads to the recorded calls with that key."""

    async def record() -> lf.Trace:
        with lf.SqliteStore("lmflow.db") as store:
            async with lf.Executor(lf.scripted(["It is."]), store) as ex:
                return await ex.run(ANSWER, version=FIRST, question="q")

    trace = asyncio.run(record())
    child = FIRST.put({"answer.model": "x/y"}, origin={"answer.model": {"key": trace.calls[0].key}})
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "proposed", child)
    (row,) = data(here, "blame proposed answer.model")
    assert [(trace.id, "answer[0]/call[0]")] == [
        (found["trace"], found["address"]) for found in row["calls"]
    ]


def test_status_compares_with_what_runs_now(here: Path) -> None:
    """Whether it fits, what changed since, and what to tune again."""
    found = data(here, "status prod --program app:answer")
    assert (True, None, {}, []) == tuple(
        found[name] for name in ("fits", "program_changed", "stale", "tune")
    )
    assert "lf.migrate(version, rename=" in data(here, "status prod --program app:renamed")["fits"]
    assert ["answer.instruction"] == list(data(here, "status side --program app:changed")["stale"])
    assert "last run  never" in said(here, "status prod --program app:answer")


def test_export_and_import_keep_ids(here: Path) -> None:
    """What one store wrote another keeps, with refs; a ref that it has otherwise stays."""
    said(here, "export --out all.json")
    said(here, "import all.json --store other.db")
    assert refs(here) == {
        row["ref"]: row["version"] for row in data(here, "ref ls --store other.db")
    }
    said(here, "ref set prod side --store other.db")
    assert f"prod stays at {SIDE.id[6:18]}" in said(here, "import all.json --store other.db")
    assert [FIRST.id] == [row["id"] for row in data(here, "log prod~1")]
    assert json.loads(said(here, "export prod --only"))["absent"] == [FIRST.id]


def test_export_to_dspy_and_back(here: Path) -> None:
    """The file of the other format comes back as the same version."""
    said(here, "export prod --format dspy --program app:answer --out dspy.json")
    said(here, "import dspy.json --format dspy --program app:answer --ref back --store other.db")
    assert [{"ref": "back", "version": TUNED.id, "note": "shorter"}] == data(
        here, "ref ls --store other.db"
    )
