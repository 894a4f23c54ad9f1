"""An open page hears of what another process records, at once and only of what it follows."""

import asyncio
import time
from pathlib import Path

from browsing import viewing

import lmflow as lf
from lmflow.ui.tail import Change


def test_a_change_concerns_its_run() -> None:
    """A page of a run hears of that run and of errors, the list of everything."""
    change = Change({"a": 1}, {"b": "done"})
    assert [True, True, False, True] == [change.concerns(run) for run in ("a", "b", "c", "*")]
    assert Change(problem="gone").concerns("c")


async def test_open_pages_hear_within_a_second(tmp_path: Path) -> None:
    """From the end of a call to the event of a page less than a second passes."""
    path, answer = tmp_path / "store.db", lf.predict("answer", "question -> answer", "Answer.")
    with lf.SqliteStore(path) as store:
        async with (
            viewing(path) as view,
            view.session.get(f"{view.url}/events?run=*") as events,
            lf.Executor(lf.scripted(lambda _: "tea"), store) as ex,
        ):
            assert "event: hello" in (await events.content.readuntil(b"\n\n")).decode()
            await asyncio.sleep(0.6)  # the thread looks for the first time
            await ex.run(answer, question="which?")
            ended = time.monotonic()
            heard = (await asyncio.wait_for(events.content.readuntil(b"\n\n"), 5)).decode()
            assert "event: change" in heard
            assert 1.5 > time.monotonic() - ended  # a second, and what a busy machine adds


async def test_the_thread_ends_with_its_listeners(empty: Path) -> None:
    """Nobody looks at the store once no page is open."""
    async with viewing(empty) as view:
        async with view.session.get(f"{view.url}/events") as events:
            await events.content.readuntil(b"\n\n")
        assert 200 == (await view.get("/"))[0]
