"""The screen of an optimization says what the optimization itself says, also while it runs."""

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from browsing import viewing
from hostile_text import HOSTILE

import lmflow as lf
from lmflow.execution.jobs.optimization import Optimization
from lmflow.models.functions import function_model

APP = """
import lmflow as lf
answer = lf.predict("answer", "question -> answer", "Answer.")
"""
LINES = ("Be exact.", "Count wisely.", "Be brief.")


@attrs.frozen(eq=False)
class Searched:
    """A store with one optimization, and what that came to."""

    path: Path
    result: Optimization


def reply(request: Any) -> str:
    """Right in half of the questions, in all if told to count wisely."""
    system, last = request.messages[0].content, request.messages[-1].content
    if system.startswith("You write instructions"):
        return LINES[int(request.key[-2:], 16) % len(LINES)]
    return "1" if "wisely" in system or len(last) % 2 else "0"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    """A search with proposals and held-back examples, by a program that can be imported."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "search_app.py").write_text(APP, encoding="utf-8")
    sys.path.insert(0, str(folder))
    rows = [
        {"id": f"e{at}", "question": f"{'q' * (at % 7)} {at}?", "answer": "1"} for at in range(24)
    ]
    data = lf.Data(train=rows[:8], select=rows[8:16], held=rows[16:])

    async def search() -> Optimization:
        from search_app import answer  # type: ignore[import-not-found]  # noqa: PLC0415

        model = lf.scripted(reply)
        with lf.SqliteStore(folder / "store.db") as store:
            async with lf.Executor(model, store, target="search_app:answer") as ex:
                metric = lf.exact_match("answer")
                optimizer = lf.gepa(iterations=4, minibatch=3)
                budget = lf.Budget(calls=500)
                return await ex.optimize(optimizer, answer, data, metric, budget=budget)

    yield Searched(folder / "store.db", asyncio.run(search()))
    sys.path.remove(str(folder))
    sys.modules.pop("search_app", None)


async def test_the_page_says_what_the_optimization_says(searched: Searched) -> None:
    """Result, best score, calls, budget, candidates and the held-back scores are the same."""
    result = searched.result
    async with viewing(searched.path) as view:
        data = await view.json(f"/optimizations/{result.run.id}")
    assert result.version.id == data["run"]["result"]
    assert result.spent.calls == data["totals"]["sent"]
    assert {"calls": 500, "usd": None} == data["budget"]
    assert result.curve[-1][1] == pytest.approx(data["curve"][-1]["score"])
    assert result.selected == pytest.approx(max(each["score"] for each in data["curve"]))
    assert [True] == [each["result"] for each in data["candidates"] if each["result"]]
    assert result.after is not None
    assert result.after.mean is not None
    assert result.after.mean.value == pytest.approx(data["held"]["after"]["value"])
    assert result.comparison is not None
    assert result.comparison.difference.value == pytest.approx(data["held"]["difference"]["value"])
    reflections = [trace for _, trace in result.run.items if trace.name == "reflect"]
    assert len(reflections) == data["proposals"]["total"] > 0


async def test_the_replay_comes_to_the_same_version(searched: Searched) -> None:
    """The proof needs the program, and once that is loaded it replays without a call."""
    path = f"/optimizations/{searched.result.run.id}/replayed"
    async with viewing(searched.path) as view:
        assert "search_app:answer" == (await view.json(path))["load"]["target"]
    async with viewing(searched.path, ("search_app:answer",)) as view:
        proof = (await view.json(path))["proof"]
        assert (True, searched.result.version.id) == (proof["same"], proof["version"])


async def test_other_runs_are_no_optimizations(filled: Path) -> None:
    """A run of another kind is a bad request that says so."""
    async with viewing(filled) as view:
        rows = (await view.json("/?where=kind=evaluate"))["rows"]
        status, text = await view.get(f"/optimizations/{rows[0]['id']}")
        assert 400 == status
        assert "an optimization" in text


async def test_a_search_is_followed_while_it_runs(tmp_path: Path) -> None:
    """The page of a search that is under way shows what ran so far, and listens for more."""
    path, release, proposed = tmp_path / "store.db", asyncio.Event(), asyncio.Event()
    program = lf.predict("answer", "question -> answer", "Answer.")
    rows = [{"id": f"e{at}", "question": f"{'q' * at}?", "answer": "1"} for at in range(12)]

    async def answer(request: Any) -> str:
        if request.messages[0].content.startswith("You write instructions"):
            proposed.set()
            await release.wait()
        return reply(request)

    model = function_model("scripted/waiting", answer)
    with lf.SqliteStore(path) as store:
        async with lf.Executor(model, store) as ex, viewing(path) as view:
            search = ex.optimize(
                lf.gepa(iterations=2),
                program,
                lf.Data(train=rows[:6], select=rows[6:]),
                lf.exact_match("answer"),
                budget=lf.Budget(calls=100),
            )
            task = asyncio.ensure_future(search)
            await asyncio.wait_for(proposed.wait(), 10)
            run = (await view.json("/optimizations"))["rows"][0]["id"]
            data = await view.json(f"/optimizations/{run}")
            assert ("open", 1) == (data["run"]["status"], len(data["candidates"]))
            assert data["left"] > 0
            page = (await view.get(f"/optimizations/{run}"))[1]
            assert f'data-live="{run}"' in page
            assert 'data-refresh="live"' in page
            release.set()
            await task
            after = await view.json(f"/optimizations/{run}")
            assert ("done", None) == (after["run"]["status"], after["left"])


async def test_hostile_proposals_are_only_text(tmp_path: Path) -> None:
    """What proposers write stands escaped on the pages of the search, its versions and blame."""
    path, texts = tmp_path / "store.db", itertools.cycle(HOSTILE)
    program = lf.predict("answer", "question -> answer", "Answer.")
    rows = [{"id": f"e{at}", "question": f"{'q' * at}?", "answer": "1"} for at in range(12)]

    def answer(request: Any) -> str:
        told = request.messages[0].content
        return next(texts) if told.startswith("You write instructions") else str(told.count("<"))

    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(answer), store) as ex:
            data = lf.Data(train=rows[:6], select=rows[6:])
            search = lf.gepa(iterations=12)
            result = await ex.optimize(search, program, data, lf.exact_match("answer"))
    async with viewing(path) as view:
        page = await view.json(f"/optimizations/{result.run.id}")
        assert page["proposals"]["total"] > 1
        versions = [each["version"] for each in page["candidates"]]
        paths = [f"/versions/{each}{rest}" for each in versions for rest in ("", "/blame")]
        for place in ("/optimizations", f"/optimizations/{result.run.id}", "/versions", *paths):
            text = (await view.get(place))[1]
            assert [] == [each for each in HOSTILE if "<" in each and each in text]
