"""The laws of long runs: they are what a held run is, and hold what is open, not what is done."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main
from lmflow.errors import MissingInput, NotFound, ReplayDiverged, StoreError
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.gc import collect
from lmflow.traces.paged import HELD, Paged
from lmflow.traces.trace import Run, Trace

pytestmark = pytest.mark.usefixtures("unseen")

ANSWER = lf.predict("answer", "question -> answer", "Answer in a word.")
COUNT = HELD + 30
FAILING = "q7."


def _rows(count: int = COUNT) -> Iterator[dict[str, str]]:
    return ({"question": f"q{n}."} for n in range(count))


def _reply(request: ChatRequest) -> Any:
    text = request.messages[-1].content
    return lf.errors.ModelFailed("refusal", "no") if FAILING in text else text.upper()


def _executor(store: Any) -> lf.Executor:
    return lf.Executor(lf.scripted(_reply), store)


async def _mapped(store: Any, rows: Any) -> Run:
    async with _executor(store) as ex:
        return await ex.map(ANSWER, rows, progress=lf.silent)


@pytest.fixture(scope="module")
def held() -> Run:
    """A run that is held as a whole, since no store can give it back."""
    return asyncio.run(_mapped(None, _rows()))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the run ``read``."""
    return tmp_path_factory.mktemp("long") / "s.db"


@pytest.fixture(scope="module")
def read_with_alive(path: Path) -> tuple[Run, int]:
    """The same run of an iterator, whose traces are read back; and the number of traces that are
    alive now and were not before it.
    """
    before = _traces_alive()
    with lf.SqliteStore(path) as store:
        run = asyncio.run(_mapped(store, _rows()))
    return run, _traces_alive() - before


@pytest.fixture(scope="module")
def read(read_with_alive: tuple[Run, int]) -> Run:
    """The run whose traces are read back."""
    return read_with_alive[0]


def _traces_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, Trace) for thing in gc.get_objects())


def _facts(run: Run) -> list[Any]:
    """What a run is but for ids and times."""
    items = [(label, t.inputs, t.outputs, t.failure, t.root) for label, t in run.items]
    return [run.root, run.status, len(run), items, list(run.wanted), run.sums[1]]


def test_a_run_that_is_read_is_the_one_that_is_held(held: Run, read: Run) -> None:
    """Root, state, labels, inputs, outputs, failures and plan are the same."""
    assert isinstance(read.items, Paged)
    assert not isinstance(held.items, Paged)
    assert _facts(held) == _facts(read)
    assert held.sums == read.sums


def test_the_store_gives_the_same_run(path: Path, read: Run) -> None:
    """The run that was returned and the run in the store are equal, as JSON too."""
    with lf.SqliteStore(path) as store:
        stored = store.run(read.id)
    assert read == stored
    assert read.to_dict() == stored.to_dict()
    assert read.root == attrs.evolve(read, items=tuple(stored.items)).root


def test_parts_of_it_are_read(held: Run, read: Run) -> None:
    """Positions, slices and iteration give what a tuple gives."""
    outputs = [trace.outputs for trace in held]
    assert outputs == [trace.outputs for trace in read]
    assert outputs[-3:] == [trace.outputs for trace in read.traces[-3:]]
    assert outputs[5] == read.traces[5].outputs
    assert [label for label, _ in held.items[::500]] == [label for label, _ in read.items[::500]]
    with pytest.raises(IndexError):
        read.items[COUNT]


def test_it_replays_with_its_own_program(read: Run) -> None:
    """Traces that are read back know the program that they were executed with."""
    assert read.root == lf.replay(read).root


def test_it_is_pickled_as_a_whole(read: Run) -> None:
    """A pickled run needs no store."""
    copied = pickle.loads(pickle.dumps(read))  # noqa: S301 - its own
    assert read.root == copied.root
    assert isinstance(copied.items, tuple)


async def test_an_asynchronous_generator_gives_the_same_run(tmp_path: Path, held: Run) -> None:
    """Its examples are executed as they come."""

    async def later() -> AsyncIterator[dict[str, str]]:
        for row in _rows():
            yield row

    with lf.SqliteStore(tmp_path / "s.db") as store:
        assert _facts(held) == _facts(await _mapped(store, later()))


async def test_few_examples_of_an_asynchronous_generator(tmp_path: Path) -> None:
    """A short run is held, whatever its examples came from."""

    async def two() -> AsyncIterator[dict[str, str]]:
        for row in _rows(2):
            yield row

    with lf.SqliteStore(tmp_path / "s.db") as store:
        run = await _mapped(store, two())
        assert run == store.run(run.id)
    assert ("ex[0]", "ex[1]") == tuple(label for label, _ in run.items)
    assert isinstance(run.items, tuple)


def test_traces_that_are_done_are_let_go(read_with_alive: tuple[Run, int]) -> None:
    """A long run that is over holds few of its traces."""
    assert read_with_alive[1] < HELD / 4


async def test_bad_examples_of_a_list_send_nothing(tmp_path: Path) -> None:
    """All examples of a list are checked first, long or not."""
    twice = [*({"id": n, "question": "q"} for n in range(COUNT)), {"id": 5, "question": "q"}]
    with lf.SqliteStore(tmp_path / "s.db") as store:
        with pytest.raises(ValueError, match="the example id '5' appears twice"):
            await _mapped(store, twice)
        with pytest.raises(MissingInput):
            await _mapped(store, [*_rows(), {"id": "x"}])
        assert [] == list(store.runs())


async def test_a_stopped_run_of_an_iterator_goes_on(tmp_path: Path, held: Run) -> None:
    """Given the examples again it ends with the root that it would have had; others are refused."""

    def broken() -> Iterator[dict[str, str]]:
        yield from _rows(HELD + 10)
        yield {}

    with lf.SqliteStore(tmp_path / "s.db") as store, pytest.raises(MissingInput):
        await _mapped(store, broken())
    with lf.SqliteStore(tmp_path / "s.db") as store:
        stopped = store.run(store.runs(1)[0].id)
        assert "stopped" == stopped.status
        async with _executor(store) as ex:
            with pytest.raises(ReplayDiverged, match="examples"):
                await ex.resume(stopped, ANSWER, progress=lf.silent)
            others = ({"question": f"x{n}"} for n in range(COUNT))
            with pytest.raises(ReplayDiverged, match="x0"):
                await ex.resume(stopped, ANSWER, others, progress=lf.silent)
            done = await ex.resume(
                store.run(store.runs(1)[0].id), ANSWER, _rows(), progress=lf.silent
            )
        assert _facts(held) == _facts(done) == _facts(store.run(done.id))
        with store.reading() as reader:
            assert done.root == reader.verify(done.id).root


async def test_what_is_gone_is_said(tmp_path: Path, held: Run) -> None:
    """A closed store can be read; a trace that was collected, and a store that was deleted, are
    typed errors.
    """
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        run = await _mapped(store, list(_rows()))
    assert _facts(held) == _facts(run)
    collect(path, older_than=0, dry_run=False, now=run.ended + 1)
    with pytest.raises(NotFound, match="gc"):
        _ = run.traces[-1]
    path.unlink()
    with pytest.raises(StoreError, match="no such file"):
        list(run)


def test_a_long_run_is_shown_in_part(path: Path, read: Run) -> None:
    """The command shows the first 100 executions and the totals, and says how to see all."""
    arguments = ["runs", "show", read.id, "--store", str(path)]
    shown = CliRunner().invoke(main, arguments)
    lines = shown.stdout.splitlines()
    assert f"100 of {COUNT:,} traces" in lines[0]
    assert f"all {COUNT:,} traces: {COUNT:,} calls (1 failed)" in lines[1]
    assert 100 == sum(line.startswith("ex[") for line in lines)
    assert f"100 of {COUNT:,} shown; more: --all" in shown.stderr
    whole = CliRunner().invoke(main, [*arguments, "--all"]).stdout.splitlines()
    assert COUNT == sum(line.startswith("ex[") for line in whole)


def test_totals_at_the_end_are_those_of_all_calls(path: Path, read: Run) -> None:
    """The row that is written when a run ends is what adding up its calls gives."""
    with lf.SqliteStore(path) as store, store.reading() as reader:
        (row,) = reader.summaries(1)
        total, sums = reader.long_runs.totals(read.id)
    assert (COUNT, read.sums[0]) == (total, sums)
    assert (COUNT, COUNT, 1) == (row["traces"], row["calls"], row["failed"])
