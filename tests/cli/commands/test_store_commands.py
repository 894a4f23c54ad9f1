"""The commands that keep a store: score, pin, gc, verify; and the mistakes of all version commands."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from pathlib import Path

import pytest
from commanding import call
from versions_folder import (
    ANSWER,
    FIRST,
    OLD_DIGITS,
    TUNED,
    data,
    edits,
    said,
    versions_folder,
)

import lmflow as lf
from lmflow.traces.events import VersionSaved


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, and a store with two refs."""
    return versions_folder(tmp_path, monkeypatch)


def _run() -> str:
    with lf.SqliteStore("lmflow.db") as store:

        async def go() -> lf.Trace:
            async with lf.Executor(lf.scripted(["It is."]), store) as ex:
                return await ex.run(ANSWER, version=TUNED, question="q")

        return asyncio.run(go()).id


def test_score_is_kept_beside_a_run(here: Path) -> None:
    """By the run or the trace; the log shows the mean."""
    trace = _run()
    run = data(here, "runs ls")[0]["id"]
    said(here, f"score {run} --name helpful --value 1 --feedback good")
    said(here, f"score {trace} --name helpful --value 0")
    assert {"helpful": {"mean": 0.5, "n": 2}} == data(here, "show prod")["scores"]
    assert "helpful 0.5 (n=2)" in said(here, "log prod")


def test_gc_says_first_and_does_it_when_told(here: Path) -> None:
    """A dry run names the command that does it; pins keep."""
    with lf.SqliteStore("lmflow.db") as store:
        loose = [FIRST.put({"answer.model": name}) for name in ("a/b", "c/d")]
        store.append(*(VersionSaved(version, 1) for version in loose)).result()
    said(here, f"pin add {loose[0].id[6:16]} --why paper")
    assert [{"version": loose[0].id, "why": "paper"}] == data(here, "pin ls")
    assert "would remove 1 version" in said(here, "gc")
    assert 1 == data(here, "gc --yes --vacuum")["versions"]
    said(here, f"pin rm {loose[0].id[6:16]}")
    assert "would remove 1 version" in said(here, "gc")


def test_verify_checks_the_whole_store(here: Path) -> None:
    """Everything is sound; a blob or a version that was changed is named."""
    _run()
    found = data(here, "verify")
    assert (True, 1, 1, 3) == tuple(found[name] for name in ("sound", "runs", "calls", "versions"))
    with sqlite3.connect("lmflow.db") as db:
        db.execute(
            "UPDATE version SET note = 'forged' WHERE hash = ?", (bytes.fromhex(TUNED.id[6:]),)
        )
        db.execute(
            "UPDATE blob SET data = ? WHERE kind = 'reply'", (b'{"is":"ChatReply","text":"no"}',)
        )
    db.close()
    result = call(here, "verify")
    assert 1 == result.exit_code
    assert "broken: reply blob" in result.stdout
    assert f"broken: version {TUNED.id[6:18]}" in result.stdout


def test_verify_tells_pruned_from_broken(here: Path) -> None:
    """A parent that garbage collection removed is told, and nothing is broken."""
    with sqlite3.connect("lmflow.db") as db:
        db.execute("INSERT INTO tombstone VALUES ('version', ?, 5)", ("ab" * 32,))
    db.close()
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "lone", lf.Version(parents=("v1:b2:" + "ab" * 32, "v1:b2:" + "cd" * 32)))
    assert "1 pruned, 1 never stored" in said(here, "verify")


MISTAKES = [
    ("log prd", "Did you mean 'prod'?"),
    ("show nothing", "no ref or version 'nothing'"),
    ("show prod~2", "no ref or version 'prod~2'"),
    ("show prod --render answer", "--program MODULE:PROGRAM"),
    ("show prod --render anser --program app:answer", "Did you mean 'answer'"),
    ("show side --render reply --program app:renamed", "lf.migrate("),
    ("diff prod prods", "Did you mean 'prod'?"),
    ("ref set a~b prod", "can't be the name of a ref"),
    ("ref set new prodd", "Did you mean 'prod'?"),
    ("ref rm nothing", "no ref or version 'nothing'"),
    ("rollback nothing", "refs: `clash`, `prod`, `side`"),
    ("rollback prod --steps 9", "lmflow reflog prod"),
    ("rollback side", "was moved 0 times"),
    ("rollback prod --to side --steps 1", "exclude each other"),
    ("reflog nothing", "no ref or version 'nothing'"),
    ("edit prod answer.instructon", "Did you mean 'answer.instruction'?"),
    ("edit prod answer.options", "is not JSON"),
    (f"edit {OLD_DIGITS} answer.options", "no ref or version"),
    ("merge prod clash", "both sides changed `answer.instruction`"),
    ("merge prod stranger", "--base"),
    ("blame prod answer.modle", "Did you mean 'answer.model'?"),
    ("status prod", "--program MODULE:PROGRAM"),
    ("export nothing", "no ref or version 'nothing'"),
    ("export prod side --format dspy --program app:answer", "holds one version"),
    ("export prod --format dspy", "--program MODULE:PROGRAM"),
    ("import foreign.json", "its format is None"),
    ("import forged.json", "it was changed"),
    ("import bytes.json", "isn't UTF-8"),
    ("import foreign.json --format dspy --program app:answer", "DSPy didn't save it"),
    ("score nothing --name x --value 1", "no run 'nothing', and no trace"),
    ("score nothing --name x", "--value 1"),
    ("score nothing --name x --value nan", "not a finite number"),
    ("pin rm prod", "isn't pinned"),
    ("gc --older-than soon", "30d"),
    ("gc --store none.db", "no such file"),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_the_store_is_untouched(
    here: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """Each mistake exits with 1, says in one line what mends it, and changes nothing in the store."""
    edits(here, monkeypatch, 'echo "{" > "$1"')
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "clash", FIRST.put({"answer.instruction": "Sing."}))
        lf.commit(store, "stranger", lf.Version(params={"answer.model": "x"}))
    said(here, "export prod --out forged.json")
    forged = (here / "forged.json").read_text("utf-8").replace("shorter", "longer")
    (here / "forged.json").write_text(forged, encoding="utf-8")
    (here / "foreign.json").write_text("{}", encoding="utf-8")
    (here / "bytes.json").write_bytes(b"\xff\xfe{")
    before = _dump(here)
    result = call(here, line)
    assert 1 == result.exit_code, result.output
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr), result.stderr
    assert words in result.stderr
    assert before == _dump(here)
    assert not (here / "none.db").exists()


def _dump(here: Path) -> list[str]:
    db = sqlite3.connect(here / "lmflow.db")
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_a_short_id_that_fits_several_is_named(here: Path) -> None:
    """An ambiguous id lists what it could be."""
    with lf.SqliteStore("lmflow.db") as store:
        versions = [lf.Version(note=str(k)) for k in range(600)]
        store.append(*(VersionSaved(version, 1) for version in versions)).result()
    digits = sorted(version.id[6:10] for version in versions)
    twice = next((a for a, b in itertools.pairwise(digits) if a == b), "")
    if twice:
        assert "is ambiguous" in call(here, f"show {twice}").stderr
