"""Versions against programs as they are now; versions kept and refs moved from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import ForeignPaths, RefChanged, UnfitDemos, UnknownVersion
from lmflow.programs.compatibility import checked_params, stale
from lmflow.traces.events import RefMoved

OLD = lf.predict("answer", "question -> answer", "Answer.")
NEW = lf.predict("answer", "question -> answer", "Answer in one word.", options={"seed": 1})
FIRST = lf.init(OLD)
TUNED = FIRST.put({"answer.instruction": "Sing."})


def test_a_default_that_the_code_changed_is_stale() -> None:
    """Paths that still hold the old default are named, with both."""
    found = stale(NEW, FIRST, FIRST)
    assert {"answer.instruction", "answer.options"} == set(found)
    assert (
        lf.Record({"then": "Answer.", "now": "Answer in one word."}) == found["answer.instruction"]
    )


def test_what_was_tuned_is_not_stale() -> None:
    """A path that was changed on purpose is nobody's default."""
    assert {"answer.options"} == set(stale(NEW, TUNED, FIRST))


@pytest.mark.parametrize("first", [TUNED, lf.Version(params=FIRST.params, note="by hand")])
def test_only_defaults_can_be_stale(first: lf.Version) -> None:
    """Of a line that didn't begin with defaults nothing is known; nor is anything stale where
    nothing changed.
    """
    assert (lf.Record(), lf.Record()) == (stale(NEW, first, first), stale(OLD, FIRST, FIRST))


def test_demonstrations_of_another_signature_do_not_fit() -> None:
    """A demonstration without any output of its step is an error that says how to mend it, and that
    mends it.
    """
    version = FIRST.put({"answer.demos": [{"question": "q", "reply": "r"}]})
    with pytest.raises(UnfitDemos, match=r'rename=\{"answer.reply": "answer.answer"\}'):
        checked_params(OLD, version)
    mended = lf.migrate(version, rename={"answer.reply": "answer.answer"})
    assert (lf.Record(question="q", answer="r"),) == checked_params(OLD, mended)["answer.demos"]


def test_a_renamed_step_says_how_to_migrate() -> None:
    """Paths without a home are named, with the line that mends it, and that mends it."""
    other = lf.predict("reply", "question -> answer", "Answer.")
    with pytest.raises(ForeignPaths, match=r"`answer\.instruction`.*lf\.migrate\(version, rename="):
        checked_params(other, TUNED)
    assert (
        "Sing."
        == checked_params(other, lf.migrate(TUNED, rename={"answer": "reply"}))["reply.instruction"]
    )


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> lf.MemoryStore | lf.SqliteStore:
    """Each of the stores, empty."""
    return lf.MemoryStore() if request.param == "memory" else lf.SqliteStore(tmp_path / "store.db")


def test_commit_keeps_a_line_and_moves_the_ref(store: lf.MemoryStore | lf.SqliteStore) -> None:
    """The versions are kept, the ref points at the last, the reflog says why."""
    assert TUNED == lf.commit(store, "prod", FIRST, TUNED, why="live", who="ann")
    assert (TUNED, FIRST) == (store.version("prod"), store.version("prod~1"))
    (moved,) = store.reflog("prod")
    assert ("live", "ann", "") == (moved.why, moved.who, moved.before)
    store.close()


def test_commit_refuses_a_ref_that_moved(store: lf.MemoryStore | lf.SqliteStore) -> None:
    """``before`` is checked, and then nothing is kept; no version is a mistake."""
    lf.commit(store, "prod", FIRST)
    with pytest.raises(RefChanged, match="was moved meanwhile"):
        lf.commit(store, "prod", TUNED, before=TUNED.id)
    with pytest.raises(UnknownVersion):
        store.version(TUNED.id)
    with pytest.raises(ValueError, match="no version"):
        lf.commit(store, "prod")
    store.close()


async def test_a_run_by_ref_resolves_it_and_names_stale_defaults(
    store: lf.MemoryStore | lf.SqliteStore,
) -> None:
    """The trace holds the version that the ref named, and what the code changed since."""
    lf.commit(store, "prod", FIRST, TUNED)
    async with lf.Executor(lf.scripted(["x", "y"]), store) as ex:
        trace = await ex.run(NEW, version="prod", question="q")
        again = await ex.run(OLD, version="prod", question="q")
    assert (TUNED.id, {"answer.options"}) == (trace.version.id, set(trace.world.stale))
    assert "stale" not in again.world
    assert trace.world == store.trace(trace.id).world
    assert lf.replay(store.trace(trace.id), NEW).root == trace.root
    store.close()


async def test_a_rollback_and_back_is_the_identical_root(
    store: lf.MemoryStore | lf.SqliteStore,
) -> None:
    """Rolled back and forth, the same ref gives the same root."""
    lf.commit(store, "prod", FIRST, TUNED)
    async with lf.Executor(lf.scripted(lambda r: r.messages[0].content), store) as ex:
        before = await ex.run(OLD, version="prod", question="q")
        store.append(RefMoved("prod", FIRST.id, "rollback", 1)).result()
        between = await ex.run(OLD, version="prod", question="q")
        store.append(RefMoved("prod", TUNED.id, "rollback", 2)).result()
        after = await ex.run(OLD, version="prod", question="q")
    assert before.root == after.root
    assert before.root != between.root
    store.close()


async def test_a_trace_can_be_scored(store: lf.MemoryStore | lf.SqliteStore) -> None:
    """A score is kept beside its trace, given by the trace or its id."""
    async with lf.Executor(lf.scripted(["x"]), store) as ex:
        trace = await ex.run(OLD, question="q")
        await ex.score(trace, 1, name="helpful", feedback="short", who="ann")
        await ex.score(trace.id, None, feedback="but late")
    first, second = store.scores(trace.id)
    assert ("helpful", 1.0, "short", "ann") == (first.name, first.value, first.feedback, first.who)
    assert ("score", None, "but late") == (second.name, second.value, second.feedback)
    store.close()
