"""Forms steer a search that runs: who and why are recorded, and the search replays the same."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from browsing import View, viewing
from hostile_text import HOSTILE

import lmflow as lf
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.models.functions import function_model
from lmflow.optimizers.parts.plan import Traces
from lmflow.traces.events import SearchSteered

PROGRAM = lf.predict("answer", "question -> answer", "Answer.")
METRIC = lf.exact_match("answer")
ROWS = [{"id": f"e{at}", "question": f"{'q' * at}?", "answer": "1"} for at in range(12)]
DATA = lf.Data(train=ROWS[:6], select=ROWS[6:])
OPTIMIZER = lf.gepa(iterations=4)


class Search:
    """A search that waits before each proposal until it is told to go on."""

    def __init__(self) -> None:
        self.asked, self.release = asyncio.Event(), asyncio.Event()
        self.counts = itertools.count()

    async def reply(self, request: Any) -> str:
        """Each proposal is better than the one before."""
        system, last = request.messages[0].content, request.messages[-1].content
        if not system.startswith("You write instructions"):
            return "1" if len(last) % 4 < system.count("wisely") + 1 else "0"
        self.asked.set()
        await self.release.wait()
        return f"Count wisely{' wisely' * next(self.counts)}."

    def start(self, ex: lf.Executor) -> "asyncio.Task[lf.Optimization]":
        """Begin the search."""
        job = ex.optimize(OPTIMIZER, PROGRAM, DATA, METRIC, progress=lf.silent, fit=False)
        return asyncio.ensure_future(job)


async def post(view: View, act: str, reason: str = "it flatters") -> tuple[int, str]:
    """Post an act for the search that runs."""
    run = (await view.json("/optimizations"))["rows"][0]["id"]
    return await view.post("/steer", run=run, act=act, reason=reason)


async def test_a_search_is_steered_by_forms(tmp_path: Path) -> None:
    """Vetoed, noted and stopped: the page says what waits, what was taken, by whom and why."""
    path, search = tmp_path / "store.db", Search()
    with lf.SqliteStore(path) as store:
        async with lf.Executor(function_model("scripted/x", search.reply), store) as ex:
            async with viewing(path) as view:
                task = search.start(ex)
                await asyncio.wait_for(search.asked.wait(), 10)
                run = (await view.json("/optimizations"))["rows"][0]["id"]
                page = (await view.get(f"/optimizations/{run}"))[1]
                assert 'action="/steer"' in page
                start = (await view.json(f"/optimizations/{run}"))["start"]
                assert 409 == (await post(view, f"veto {start}"))[0]
                assert 409 == (await post(view, "veto"))[0]
                assert 409 == (await post(view, "explode"))[0]
                assert 400 == (await post(view, "stop", " "))[0]
                assert (303, f"/optimizations/{run}") == await post(view, "note", "watch it")
                assert 303 == (await post(view, f"pin {start}", "safe"))[0]
                assert 303 == (await post(view, "stop", "enough"))[0]
                waiting = (await view.json(f"/optimizations/{run}"))["steering"]["acts"]
                assert [None] * 3 == [act["need"] for act in waiting]
                search.release.set()
                found = await asyncio.wait_for(task, 20)
                data = await view.json(f"/optimizations/{run}")
                assert 409 == (await post(view, "pause"))[0]
            acts = data["steering"]["acts"]
            assert ["note", "pin", "stop"] == [act["kind"] for act in acts]
            assert ["watch it", "safe", "enough"] == [act["note"] for act in acts]
            assert all(act["who"] and act["need"] is not None for act in acts)
            assert {start: "pin"} == data["steering"]["marks"]
            assert "stopped" == data["run"]["status"]
            assert found.version.id == data["run"]["result"] == start
        again = replay_optimization(
            store.run(run), OPTIMIZER, PROGRAM, Traces(found.start, DATA), METRIC
        )
        assert found.version.id == again.id


async def test_a_paused_search_says_so(tmp_path: Path) -> None:
    """The page of a paused search says that it waits, and not once it goes on."""
    path, search = tmp_path / "store.db", Search()
    model = function_model("scripted/x", search.reply)
    with lf.SqliteStore(path) as store:
        async with lf.Executor(model, store) as ex, viewing(path) as view:
            task = search.start(ex)
            await asyncio.wait_for(search.asked.wait(), 10)
            run = (await view.json("/optimizations"))["rows"][0]["id"]
            await post(view, "pause")
            search.release.set()
            for _ in range(200):
                data = await view.json(f"/optimizations/{run}")
                if data["steering"]["paused"]:
                    break
                await asyncio.sleep(0.05)
            assert "Paused" in (await view.get(f"/optimizations/{run}"))[1]
            assert not task.done()
            await post(view, "resume")
            await asyncio.wait_for(task, 20)
            data = await view.json(f"/optimizations/{run}")
    assert ("done", False) == (data["run"]["status"], data["steering"]["paused"])


@pytest.mark.parametrize("text", [text for text in HOSTILE if "<" in text][:3])
async def test_hostile_reasons_are_only_text(tmp_path: Path, text: str) -> None:
    """What somebody wrote by other means stands escaped on the page."""
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "0"), store) as ex:
            found = await ex.optimize(lf.gepa(iterations=1), PROGRAM, DATA, METRIC)
        store.append(SearchSteered(found.run.id, text, "", text, text)).result()
    async with viewing(path) as view:
        assert text not in (await view.get(f"/optimizations/{found.run.id}"))[1]
