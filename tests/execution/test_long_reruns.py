"""The laws of long runs that are replayed or resumed: as short ones are, and a page at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BudgetExceeded, NotRecorded, ReplayDiverged
from lmflow.messages.requests import ChatRequest
from lmflow.traces.paged import HELD, Paged
from lmflow.traces.trace import Trace

pytestmark = pytest.mark.usefixtures("unseen")

ANSWER = lf.predict("answer", "question -> answer", "Answer in a word.")
OTHER = lf.init(ANSWER).put({"answer.instruction": "Answer in two words."})
COUNT = HELD + 200
CALLS = COUNT - 60
FEW = HELD // 2


class _Model:
    """Answers, counts what was sent, and counts the traces that are alive now and then."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.sent, self.alive = 0, 0
        self._before = _traces_alive()

    def __call__(self, request: ChatRequest) -> str:
        self.sent += 1
        if self.sent % 500 == 20:
            self.look()
        return request.messages[-1].content.upper()

    def look(self) -> None:
        """Note how many traces are alive that were not before, but for what waits to be written."""
        self._store.settle()
        self.alive = max(self.alive, _traces_alive() - self._before)


def _traces_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, Trace) for thing in gc.get_objects())


def _rows() -> Iterator[dict[str, str]]:
    return ({"question": f"q{n}"} for n in range(COUNT))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[lf.SqliteStore]:
    """A store of one's own."""
    with lf.SqliteStore(tmp_path / "s.db") as made:
        yield made


async def test_a_long_run_is_resumed_and_replayed_page_by_page(store: Any) -> None:
    """A run of a list that its budget stopped ends with the root that it would have had. Under
    another version all is sent, under its own nothing. Few traces are alive meanwhile.
    """
    model, budget = _Model(store), lf.Budget(calls=CALLS)
    async with lf.Executor(lf.scripted(model), store) as ex:
        with pytest.raises(BudgetExceeded) as stopped:
            await ex.map(ANSWER, list(_rows()), budget=budget, progress=lf.silent)
        cut_off = store.run(stopped.value.run)
        assert isinstance(cut_off.items, Paged)
        done = await ex.resume(cut_off, ANSWER, progress=lf.silent)
        assert COUNT == model.sent == len(done)
        again = await ex.resume(store.run(done.id), ANSWER, progress=lf.silent)
        assert (done.root, COUNT) == (again.root, model.sent)
        same = await ex.replay(again, ANSWER, progress=lf.silent)
        assert (done.root, COUNT) == (same.root, model.sent)
        other = await ex.replay(again, ANSWER, version=OTHER, progress=lf.silent)
        assert (2 * COUNT, "what_if", again.id) == (model.sent, other.kind, other.of)
        with pytest.raises(NotRecorded):
            await ex.replay(again, ANSWER, at="elsewhere[0]", progress=lf.silent)
        assert done.root == lf.replay(done, ANSWER).root == lf.replay(same).root
        model.look()
        assert model.alive < FEW
    async with lf.Executor(lf.scripted(_Model(store))) as ex:
        held = await ex.map(ANSWER, _rows(), version=OTHER, progress=lf.silent)
    assert held.root == other.root == store.run(other.id).root
    assert [label for label, _ in held.items] == [each.label for each in other.wanted]
    with pytest.raises(ReplayDiverged):
        lf.replay(done, lf.predict("reply", "question -> answer"))
