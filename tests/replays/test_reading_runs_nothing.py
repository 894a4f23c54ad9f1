"""The law of reading: what looks at a recording imports no module of its user and runs none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.replays.provenance import why
from lmflow.stores.sqlite.store import reading

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [{"id": "a", "question": "1 + 1?", "answer": "2"}]
SCRIPT = "raise SystemExit('it was imported')\n"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a run and an evaluation whose target is a script that ends the process."""
    (tmp_path / "user_script.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "s.db"


async def test_reading_imports_no_target(recorded: Path) -> None:
    """Replay, comparison, divergence, plan and provenance work from what is on record."""
    with lf.SqliteStore(recorded) as store:
        model = lf.scripted(lambda _: "2")
        async with lf.Executor(model, store, target="user_script:program") as ex:
            await ex.run(ANSWER, question="1 + 1?")
            await ex.evaluate(ANSWER, ROWS, lf.exact_match("answer"))
    with reading(recorded) as reader:
        runs = [reader.run(run.id) for run in reader.runs(10, "")]
        for run in runs:
            assert "user_script:program" == run.traces[0].target
            with pytest.raises(TypeError, match="keeps no code"):
                lf.replay(run)
            assert run.root == lf.replay(run, ANSWER).root
            assert lf.diverge(run, ANSWER).same
            assert 0 == lf.what_if(run, ANSWER).most.calls
            assert "2" == why(run.traces[0], reader.version).reasons[0].gave
        scores = [
            lf.scores_from(run, lf.Dataset("rows", ROWS), lf.exact_match("answer"))
            for run in runs
            if run.kind == "evaluate"
        ]
        assert 0 == lf.compare(scores[0], scores[0]).difference.value
    assert "user_script" not in sys.modules
