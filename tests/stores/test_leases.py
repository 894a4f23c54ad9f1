"""The leases of a store in SQLite and in PostgreSQL: who may execute which part of a run."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import emptied

import lmflow as lf
from lmflow.errors import NotFound
from lmflow.exchange.leases import Lease
from lmflow.stores.leases import StoreLeases
from lmflow.stores.opened import open_store


@pytest.fixture(params=["sqlite", "postgres"])
def leases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreLeases]:
    """The leases of an empty store."""
    name = str(tmp_path / "store.db")
    if request.param == "postgres":
        name = emptied(request.getfixturevalue("postgres"))
    with open_store(name) as store:
        yield store.leases


def taken(leases: StoreLeases, owner: str = "a", seconds: float = 60) -> Lease:
    """The next lease, which there is."""
    lease = leases.take("job", owner, seconds)
    assert lease is not None
    return lease


def test_each_part_is_given_to_one_worker(leases: StoreLeases) -> None:
    """However many ask at once."""
    leases.open_job("job", 40, None)
    found: list[int] = []

    def work(owner: str) -> None:
        while (lease := leases.take("job", owner, 60)) is not None:
            found.append(lease.part)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(1, 41)) == sorted(found)


def test_a_late_worker_is_refused(leases: StoreLeases) -> None:
    """Once its time is over and another has the part, it can't hold, begin, settle or give back."""
    leases.open_job("job", 1, None)
    late = taken(leases, "late", 0.05)
    assert leases.begin(late, "r1")
    time.sleep(0.1)
    lease = taken(leases, "next")
    assert ((1, 2), ("r1",)) == ((lease.part, lease.epoch), lease.runs)
    assert leases.begin(lease, "r2")
    for refused in (
        leases.beat(late, 60),
        leases.begin(late, "r3"),
        leases.settle(late, 5),
        leases.give_back(late, 5),
    ):
        assert not refused
    assert leases.settle(lease, 7)
    assert not leases.settle(lease, 8)
    state = leases.state("job")
    assert (1, 0, 0, 7, ("r2",)) == (
        state.done,
        state.held,
        state.waiting,
        state.calls,
        state.runs,
    )


def test_slices_never_exceed_the_budget(leases: StoreLeases) -> None:
    """A slice counts until its part is settled, that of a lost worker too."""
    leases.open_job("job", 4, 40)
    lost = taken(leases, "lost", 0.05)
    assert 16 == lost.calls
    time.sleep(0.1)
    again = taken(leases, "b")
    assert (1, 16, 32) == (again.part, again.calls, leases.state("job").calls)
    other = taken(leases, "c")
    assert (2, 8, 40) == (other.part, other.calls, leases.state("job").calls)
    assert leases.take("job", "d", 60) is None
    assert leases.state("job").is_spent
    assert leases.begin(again, "r1")
    assert leases.settle(again, 10)
    assert leases.give_back(other, 8)
    assert (2, 16) == (taken(leases, "d").part, leases.state("job").calls - 18)


def test_one_process_drives_a_run(leases: StoreLeases) -> None:
    """Another is refused until the first gives it back, or is lost; a settled run is closed."""
    leases.open_job("job", 1, None)
    first = leases.drive("job", "one", 60)
    assert first is not None
    assert (None, "one") == (leases.drive("job", "two", 60), leases.state("job").driver)
    assert leases.give_back(first, -1)
    second = leases.drive("job", "two", 60)
    assert second is not None
    assert not leases.beat(first, 60)
    assert ["job"] == leases.jobs()
    assert leases.settle(second, -1)
    assert ([], True) == (leases.jobs(), leases.state("job").closed)
    with pytest.raises(NotFound, match="--workers"):
        leases.state("other")


def test_a_store_in_memory_has_none() -> None:
    """Nobody else could reach it."""
    assert not hasattr(lf.MemoryStore(), "leases")
