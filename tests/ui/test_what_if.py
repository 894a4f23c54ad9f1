"""A what-if that a form begins runs to its end, within the budget that was typed."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import View, viewing
from commanding import endpoint

import lmflow as lf

APP = """
import lmflow as lf
answer = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 9})
"""
TARGET = "brews_app:answer"
CHANGE = {"path": "answer.instruction", "value": "Be brief."}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store with a map of three questions, asked of a server on the loopback."""
    (tmp_path / "brews_app.py").write_text(APP, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with endpoint() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)

        async def record() -> None:
            from brews_app import answer  # type: ignore[import-not-found]  # noqa: PLC0415

            with lf.SqliteStore(tmp_path / "store.db") as store:
                async with lf.Executor("openai/gpt-5-mini", store, target=TARGET) as ex:
                    await ex.map(answer, [{"question": f"How {n}?"} for n in range(3)])

        asyncio.run(record())
        yield tmp_path / "store.db"
    sys.modules.pop("brews_app", None)


async def ended(view: View, path: str) -> Any:
    """The page of a run once that has ended."""
    for _ in range(400):
        data = await view.json(path)
        if data["run"]["status"] != "open":
            return data
        await asyncio.sleep(0.02)
    raise TimeoutError(path)


async def test_a_what_if_runs_to_its_end(recorded: Path) -> None:
    """It sends what the plan said, under the version that was planned; who and why stand beside."""
    async with viewing(recorded, (TARGET,)) as view:
        run = (await view.json("/"))["rows"][0]["id"]
        path = f"/runs/{run}/what-if?path={CHANGE['path']}&value=Be+brief."
        plan = (await view.json(path))["plan"]
        assert (0, 3) == (plan["reused"], plan["least"]["calls"])
        form = {"run": run, "calls": "3", "usd": "0.5", "reason": "shorter?", **CHANGE}
        status, place = await view.post("/what-if", **form)
        assert 303 == status
        data = await ended(view, place)
        assert ("done", 3) == (data["run"]["status"], data["run"]["calls"])
        with lf.SqliteStore(recorded) as store:
            new = store.run(place.removeprefix("/runs/"))
            for _ in range(100):
                if all(store.scores(trace.id) for trace in new):
                    break
                await asyncio.sleep(0.02)
            scores = [store.scores(trace.id)[0] for trace in new]
        assert run == new.of
        assert {"Be brief."} == {trace.version["answer.instruction"] for trace in new}
        assert {"shorter?"} == {trace.version.note for trace in new}
        assert {("reason", "shorter?", None)} == {
            (score.name, score.feedback, score.value) for score in scores
        }
        assert all(score.who for score in scores)
        again = await view.json(f"/runs/{new.id}/what-if?version={new.traces[0].version.id}")
        assert 3 == again["plan"]["reused"]


async def test_a_what_if_ends_at_its_budget(recorded: Path) -> None:
    """One call may be sent, so one is, and the run stands as stopped."""
    async with viewing(recorded, (TARGET,)) as view:
        run = (await view.json("/"))["rows"][0]["id"]
        form = {"run": run, "calls": "1", "reason": "a taste", **CHANGE}
        status, place = await view.post("/what-if", **form)
        assert 303 == status
        data = await ended(view, place)
        assert ("stopped", 1) == (data["run"]["status"], data["run"]["calls"])
