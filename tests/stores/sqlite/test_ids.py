"""The laws of names of runs and executions: ids, parts of ids, labels, and what an error tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import NotFound, UnknownVersion
from lmflow.stores.sqlite.ids import Place
from lmflow.stores.sqlite.lists.named import run_at, trace_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import Event, RunClosed, RunOpened, TraceOpened
from lmflow.traces.trace import Run, Trace

VERSION = lf.Version(params={"a.instruction": "Answer."}, note="first")
SECOND = VERSION.put({"a.instruction": "Say."})
FIRST_RUN, SECOND_RUN, ALONE = "01aaaaaaaaaaaaaaaa", "01aabbbbbbbbbbbbbb", "01cccccccccccccccc"
TUNED = "01adddddddddddddd1"


def _trace(name: str, version: lf.Version = VERSION) -> Trace:
    return Trace(name, lf.digest("program", "p"), "a", version, lf.Record(), lf.Record(), started=1)


def _events() -> Iterator[Event]:
    items = {
        FIRST_RUN: [("ex[e1]", _trace("01aattttttttttt1x1")), ("ex[e2]", _trace("01aattttttttttt1x2"))],
        SECOND_RUN: [("ex[e1]", _trace("01aattttttttttt2x1")), ("ex[a%2Fb]", _trace("01aattttttttttt2x2", SECOND))],
        TUNED: [
            ("before/ex[e8]", _trace("01aattttttttttt4x1")),
            ("cand[0]/ex[e9]", _trace("01aattttttttttt4x2")),
            ("cand[1]/ex[e9]", _trace("01aattttttttttt4x3")),
        ],
        ALONE: [("", _trace("01cctttttttttttt31"))],
    }  # fmt: skip
    for run, traces in items.items():
        yield RunOpened(Run(run, "map", "a", started=1), (VERSION, SECOND))
        for position, (label, trace) in enumerate(traces):
            yield TraceOpened(run, label, position, trace)
        yield RunClosed(run, "done", "", 2)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A store of three runs, the last of which has a single execution."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        store.append(*_events()).result(10)
        lf.commit(store, "prod", VERSION)
        with store.reading() as reader:
            yield reader


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (FIRST_RUN, Place(FIRST_RUN)),
        ("01aaaa", Place(FIRST_RUN)),
        ("aaaaaaaa", Place(FIRST_RUN)),
        ("bbb", Place(SECOND_RUN)),
        ("last", Place(ALONE)),
        ("1x2", Place(FIRST_RUN, "01aattttttttttt1x2", "ex[e2]")),
        ("ex[e2]", Place(FIRST_RUN, "01aattttttttttt1x2", "ex[e2]")),
        ("e2", Place(FIRST_RUN, "01aattttttttttt1x2", "ex[e2]")),
        (f"{SECOND_RUN}/ex[e1]", Place(SECOND_RUN, "01aattttttttttt2x1", "ex[e1]")),
        ("bbbb/e1", Place(SECOND_RUN, "01aattttttttttt2x1", "ex[e1]")),
        (f"{TUNED}/e8", Place(TUNED, "01aattttttttttt4x1", "before/ex[e8]")),
        (f"{TUNED}/1", Place(TUNED, "01aattttttttttt4x3", "cand[1]/ex[e9]")),
        ("bbbb/a%2Fb", Place(SECOND_RUN, "01aattttttttttt2x2", "ex[a%2Fb]")),
    ],
)
def test_a_name_is_a_place(reader: Reader, name: str, place: Place) -> None:
    """Ids by their ends, labels by what is in their brackets, and ``last``."""
    assert place == reader.place(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01aa", "is ambiguous: 01aabbbbbbbbbbbbbb, 01aaaaaaaaaaaaaaaa"),
        ("e1", f"2 executions have it, {SECOND_RUN}/ex[e1], {FIRST_RUN}/ex[e1]"),
        ("aaaaaaab", "Near: aaaaaaaa"),
        ("01aaaaaaaaaaaaaaac", f"Near: {FIRST_RUN}"),
        ("ex[e3]", "Near: ex["),
        (f"{FIRST_RUN}/e3", "has no execution 'e3'; it has ex[e1], ex[e2]"),
        (
            f"{TUNED}/e9",
            f"2 executions of the run have it, {TUNED}/cand[0]/ex[e9], {TUNED}/cand[1]/",
        ),
        ("last/e1", "its executions have no labels"),
        ("prod", "'prod' is a ref, not a run. `lmflow runs ls --where version=prod`"),
        (VERSION.id[6:14], "is a version, not a run"),
        ("", "no run ''"),
        ("/", "no run '/'"),
    ],
)
def test_what_has_no_name_is_told(reader: Reader, name: str, said: str) -> None:
    """The error lists candidates, or near names."""
    with pytest.raises(NotFound) as caught:
        reader.place(name)
    assert said in str(caught.value)


def test_a_run_of_one_execution_is_that_execution(reader: Reader) -> None:
    """Where an execution is wanted, a run with one stands for it; of several each is named."""
    assert "01cctttttttttttt31" == trace_at(reader, "last").id
    with pytest.raises(NotFound, match=r"Name one: aaaaaaaa/ex\[e1\], aaaaaaaa/ex\[e2\]"):
        trace_at(reader, FIRST_RUN)


def test_an_execution_is_its_run_with_it_alone(reader: Reader) -> None:
    """Where a run is wanted, an execution is its run without the others."""
    run = run_at(reader, "bbbb/e1")
    assert (SECOND_RUN, ["ex[e1]"]) == (run.id, [label for label, _ in run.items])
    assert 2 == len(run_at(reader, "bbbb"))


def test_a_run_stands_for_its_version(reader: Reader) -> None:
    """If it ran under one; else the versions are told."""
    assert VERSION == reader.version(FIRST_RUN)
    assert SECOND == reader.version("bbbb/a%2Fb")
    with pytest.raises(NotFound, match="a run of 2 versions"):
        reader.version(SECOND_RUN)


def test_an_empty_store_has_no_last_run(tmp_path: Path) -> None:
    """It says that there are no runs yet, and no refs."""
    with lf.SqliteStore(tmp_path / "empty.db") as store, store.reading() as reader:
        with pytest.raises(NotFound, match="it has no runs yet"):
            run_at(reader, "last")
        with pytest.raises(UnknownVersion, match="'main'; there are no refs"):
            reader.version("main")


def test_a_short_name_is_no_run_by_accident(reader: Reader) -> None:
    """Two characters end somebody's id; as a version they are a typo of a ref, not that run's."""
    assert ALONE == reader.place("cc").run
    for name in ("cc", "2x1", "31"):
        with pytest.raises(UnknownVersion, match=f"no ref or version '{name}'"):
            reader.version(name)
    assert VERSION == reader.version("cccccc")
    assert VERSION == reader.version("last")
    assert VERSION == reader.version("e2")


def test_too_few_digits_are_told(reader: Reader) -> None:
    """The beginning of an id needs four digits; it isn't proposed as a name of its own."""
    with pytest.raises(UnknownVersion, match="Give at least 4 digits of an id"):
        reader.version(VERSION.id[6:9])


def test_a_trace_id_is_preferred_where_a_trace_is_wanted(reader: Reader) -> None:
    """The beginning of a run's id and of a trace's id means what the command takes."""
    assert ALONE == reader.place("01cc").run
    assert "01cctttttttttttt31" == reader.place("01cc", "trace", "run").trace
    assert "" == reader.place("01cc").trace
