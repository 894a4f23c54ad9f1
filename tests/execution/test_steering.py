"""A search takes the acts of people at its needs and records them, so that it replays and resumes
to the same version.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from heard_plans import heard

import lmflow as lf
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces
from lmflow.traces.events import SearchSteered, VersionSaved

PROGRAM = lf.predict("answer", "question -> answer", "Answer.")
METRIC = lf.exact_match("answer")
ROWS = [{"id": f"e{at}", "question": f"{'q' * (at % 7)} {at}?", "answer": "1"} for at in range(24)]
DATA = lf.Data(train=ROWS[:8], select=ROWS[8:16], held=ROWS[16:])
OPTIMIZER = lf.gepa(iterations=5, minibatch=3)
LINES = ("Be exact.", "Count wisely.", "Be brief.")


def reply(request: ChatRequest) -> str:
    """Right in half of the questions, in all if told to count wisely."""
    system, last = request.messages[0].content, request.messages[-1].content
    if system.startswith("You write instructions"):
        return LINES[int(request.key[-2:], 16) % len(LINES)]
    return "1" if "wisely" in system or len(last) % 2 else "0"


def _nothing(store: lf.SqliteStore, run: lf.Run) -> list[tuple[str, str]]:
    del store, run
    return []


@attrs.define
class Person:
    """Acts in a store through a handle of its own, as another process does."""

    path: Path
    acts: dict[int, Callable[[lf.SqliteStore, lf.Run], list[tuple[str, str]]]]
    need: int = -1
    copy_at: int = -1

    def hear(self, _: Need) -> None:
        """Act before a need is met; copy the store at one, as a kill would leave it."""
        self.need += 1
        with lf.SqliteStore(self.path) as store:
            run = store.runs(1)[0]
            for kind, version in self.acts.get(self.need, _nothing)(store, run):
                act = SearchSteered(run.id, kind, version, "because", "ann", time.time_ns())
                store.append(act).result()
        if self.need == self.copy_at:
            with (
                closing(sqlite3.connect(self.path)) as db,
                closing(sqlite3.connect(self.path.with_suffix(".killed"))) as copy,
            ):
                db.backup(copy)


def newest(store: lf.SqliteStore, run: lf.Run) -> str:
    """The candidate that ran last."""
    traces = reversed(store.run(run.id).traces)
    return next(trace.version.id for trace in traces if trace.name == "answer")


async def search(
    store: Any, optimizer: PlanOptimizer = OPTIMIZER, **more: Any
) -> tuple[lf.Optimization, int]:
    """Optimize over a store; return the result and the number of calls that were sent."""
    sent: list[ChatRequest] = []

    def model(request: ChatRequest) -> str:
        sent.append(request)
        return reply(request)

    async with lf.Executor(lf.scripted(model), store, concurrency=1) as ex:
        found = await ex.optimize(
            optimizer, PROGRAM, DATA, METRIC, progress=lf.silent, fit=False, **more
        )
    return found, len(sent)


async def steered(path: Path, acts: Any, **more: Any) -> tuple[lf.Optimization, lf.Run]:
    """A search that a person steers, and its run as it is read back."""
    person = Person(path, acts, **more)
    with lf.SqliteStore(path) as store:
        found, _ = await search(store, heard(OPTIMIZER, person.hear))
        return found, store.run(found.run.id)


def replayed(run: lf.Run, start: lf.Version) -> lf.Version:
    """The version that a run comes to offline."""
    return replay_optimization(run, OPTIMIZER, PROGRAM, Traces(start, DATA), METRIC)


def acted(run: lf.Run) -> list[str]:
    """The labels of the acts that a run took."""
    return [label for label, _ in run.items if label.startswith("steer[")]


async def test_a_steered_search_replays_to_the_same_version(tmp_path: Path) -> None:
    """A veto and a pin are executions of the run at the needs that took them, also in its file."""
    plain, _ = await steered(tmp_path / "plain.db", {})
    acts = {
        4: lambda store, run: [("veto", newest(store, run))],
        7: lambda store, run: [("note", ""), ("pin", newest(store, run))],
    }
    found, run = await steered(tmp_path / "store.db", acts)
    assert [] == acted(plain.run)
    assert ["steer[4]/act[0]", "steer[7]/act[1]", "steer[7]/act[2]"] == acted(run)
    assert plain.version.tree != found.version.tree
    assert found.version.id == replayed(run, found.start).id
    assert run.root == found.run.root
    assert found.version.id == replayed(lf.Run.from_dict(run.to_dict()), found.start).id


async def test_a_search_that_was_killed_takes_the_acts_again(tmp_path: Path) -> None:
    """Begun again it takes them at the same needs, pays for nothing twice, and ends the same."""
    path = tmp_path / "store.db"
    acts = {
        3: lambda *_: [("pause", ""), ("resume", "")],
        4: lambda store, run: [("veto", newest(store, run))],
    }
    found, run = await steered(path, acts, copy_at=6)
    with lf.SqliteStore(path.with_suffix(".killed")) as store:
        killed = store.runs(1)[0]
        assert "open" == killed.status
        again, _ = await search(store, of=killed.id)
        assert found.version.id == again.version.id
        assert acted(run) == acted(store.run(again.run.id))
        assert again.version.id == replayed(store.run(again.run.id), found.start).id
        third, sent = await search(store, of=again.run.id)
        assert (0, found.version.id) == (sent, third.version.id)


async def test_a_stopped_search_keeps_its_best(tmp_path: Path) -> None:
    """Its answer is judged and replays; whoever begins it again lets it go on, unless it was killed
    before it could end.
    """
    path, acts = tmp_path / "store.db", {5: lambda *_: [("stop", "")]}
    whole, _ = await steered(tmp_path / "whole.db", {})
    found, run = await steered(path, acts)
    assert ("stopped", "stop by ann: because") == (run.status, found.stopped)
    assert found.before is not None
    assert found.version.id == replayed(run, found.start).id
    with lf.SqliteStore(path) as store:
        on, _ = await search(store, of=run.id)
        assert ("done", whole.version.id) == (on.run.status, on.version.id)
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE run SET status = 'open' WHERE id = ?", (run.id,))
            db.commit()
        killed, _ = await search(store, of=run.id)
        assert ("stopped", found.version.id) == (killed.run.status, killed.version.id)


async def test_a_stop_ends_a_search_that_is_paused(tmp_path: Path) -> None:
    """Whichever of the two came first."""
    for number, kinds in enumerate((("pause", "stop"), ("stop", "pause"))):
        acts = {2: lambda *_, kinds=kinds: [(kind, "") for kind in kinds]}
        found, run = await asyncio.wait_for(steered(tmp_path / f"{number}.db", acts), 20)
        assert ("stopped", "stop by ann: because") == (run.status, found.stopped)
        assert 2 == len(acted(run))


async def test_a_paused_search_waits(tmp_path: Path) -> None:
    """It sends nothing until somebody lets it go on, and then ends as if nobody had paused it."""
    path, sent, paused = tmp_path / "store.db", [], asyncio.Event()
    whole, _ = await steered(tmp_path / "whole.db", {})

    def model(request: ChatRequest) -> str:
        sent.append(request)
        return reply(request)

    def hear(update: Any) -> None:
        if update.phase.startswith("paused (pause by ann: because)"):
            paused.set()

    person = Person(path, {3: lambda *_: [("pause", "")]})
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(model), store) as ex:
            job = ex.optimize(
                heard(OPTIMIZER, person.hear), PROGRAM, DATA, METRIC, progress=hear, fit=False
            )
            task = asyncio.ensure_future(job)
            await asyncio.wait_for(paused.wait(), 10)
            before = len(sent)
            await asyncio.sleep(0.4)
            assert before == len(sent)
            run = store.runs(1)[0].id
            store.append(SearchSteered(run, "resume", who="bob", at=1)).result()
            found = await asyncio.wait_for(task, 20)
    assert whole.version.id == found.version.id
    assert 2 == len(acted(found.run))


async def test_what_a_search_cannot_take_is_refused_on_record(tmp_path: Path) -> None:
    """A version of another program, and a veto of the start, change nothing and say why."""
    foreign = lf.Version(params={"nope.instruction": "x"})
    whole, _ = await steered(tmp_path / "whole.db", {})

    def act(store: lf.SqliteStore, run: lf.Run) -> list[tuple[str, str]]:
        store.append(VersionSaved(foreign, 1)).result()
        return [("pin", foreign.id), ("veto", str(run.config["version"]))]

    found, run = await steered(tmp_path / "store.db", {2: act})
    taken: list[Any] = [trace.outputs for trace in run if trace.name == "steer"]
    problems = [outputs["taken"]["problem"] for outputs in taken]
    assert "nope" in problems[0]
    assert "start" in problems[1]
    assert whole.version.id == found.version.id == replayed(run, found.start).id


@pytest.mark.parametrize("kind", ["memory", "none"])
async def test_any_store_will_do(kind: str) -> None:
    """A store in memory hands acts over too; without a store nobody can steer."""
    store = lf.MemoryStore() if kind == "memory" else None
    acts = 0

    def hear(_: Need) -> None:
        nonlocal acts
        if store is not None and not acts:
            store.append(SearchSteered(store.runs(1)[0].id, "stop")).result()
            acts += 1

    found, _ = await search(store, heard(OPTIMIZER, hear))
    assert acts == len(acted(found.run))
    assert bool(acts) == bool(found.stopped)


@pytest.mark.parametrize("kind", ["veto", "stop"])
async def test_an_act_that_a_kill_left_waiting_is_taken(tmp_path: Path, kind: str) -> None:
    """Begun again, the search takes it at the first need that the killed one did not meet, and
    replays to the same version.
    """
    path = tmp_path / "store.db"
    vetoed: list[str] = []

    def act(store: lf.SqliteStore, run: lf.Run) -> list[tuple[str, str]]:
        vetoed.append(newest(store, run))
        return [("pause", ""), (kind, vetoed[0] if kind == "veto" else ""), ("resume", "")]

    await steered(path, {4: act}, copy_at=4)
    with lf.SqliteStore(path.with_suffix(".killed")) as store:
        killed = store.runs(1)[0]
        again, _ = await search(store, of=killed.id)
        run = store.run(again.run.id)
        (label,) = acted(run)
        assert label.startswith("steer[4]/")
        assert ("stop by ann: because" if kind == "stop" else "") == again.stopped
        assert again.version.id == replayed(run, again.start).id
        third, sent = await search(store, of=again.run.id)
        assert kind == "stop" or (0, again.version.id) == (sent, third.version.id)
