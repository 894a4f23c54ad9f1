"""The leases of a store: how processes share the parts of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import attrs

from lmflow.errors import NotFound
from lmflow.exchange.leases import JobState, Lease

NANO = 1_000_000_000
NO_LIMIT = -1
LEAST = 16
"""The calls of a slice, if the budget has as many left."""

_FREE = "(state = 'free' OR (state = 'held' AND until_ns < ?))"
_NEXT = f"""
SELECT part, epoch, runs, calls FROM lease
WHERE job = ? AND part > 0 AND {_FREE} ORDER BY part LIMIT 1
"""  # noqa: S608 - our own names
_DRIVER = f"SELECT part, epoch, runs, calls FROM lease WHERE job = ? AND part = 0 AND {_FREE}"  # noqa: S608
_HOLD = """
UPDATE lease SET state = 'held', owner = ?, epoch = ?, until_ns = ?, calls = ?
WHERE job = ? AND part = ?
"""
_OWN = "WHERE job = ? AND part = ? AND epoch = ? AND owner = ? AND state = 'held'"
_BEGIN = f"UPDATE lease SET runs = ? {_OWN}"  # noqa: S608
_BEAT = f"UPDATE lease SET until_ns = ? {_OWN}"  # noqa: S608
_END = f"UPDATE lease SET state = ?, calls = ?, until_ns = 0 {_OWN}"  # noqa: S608
_OPEN = """
INSERT INTO lease (job, part, epoch, owner, until_ns, state, runs, calls)
VALUES (?, ?, 0, '', 0, 'free', '', ?)
"""
_BUDGET = "UPDATE lease SET calls = ? WHERE job = ? AND part = 0"
_JOBS = "SELECT job, state FROM lease WHERE part = 0 ORDER BY job DESC"
_ALL = "SELECT part, owner, until_ns, state, runs, calls FROM lease WHERE job = ? ORDER BY part"


@attrs.frozen(eq=False)
class StoreLeases:
    """The leases in the tables of a store.

    Args:
        name: The name of the store.
        writing: Opens a connection with a transaction that excludes other writers, and commits it.
        now: Returns the time of the store, in nanoseconds since the epoch.
    """

    name: str
    writing: Callable[[], AbstractContextManager[Any]]
    now: Callable[[Any], int]

    def open_job(self, job: str, parts: int, calls: int | None) -> None:
        """Let workers take the parts of a run, with a budget; one that is open gets the budget."""
        limit = NO_LIMIT if calls is None else calls
        with self.writing() as db:
            if db.execute(_BUDGET, (limit, job)).rowcount:
                return
            for part in range(parts + 1):
                db.execute(_OPEN, (job, part, 0 if part else limit))

    def jobs(self, *, closed: bool = False) -> list[str]:
        """Return the ids of the runs that are open, or of all, the latest first."""
        with self.writing() as db:
            return [job for job, state in db.execute(_JOBS).fetchall() if closed or state != "done"]

    def state(self, job: str) -> JobState:
        """Return how far a run is. ``NotFound`` if workers never shared it."""
        with self.writing() as db:
            now, rows = self.now(db), db.execute(_ALL, (job,)).fetchall()
        if not rows:
            fix = "Begin one: lmflow map MODULE:PROGRAM INPUTS --out FILE --workers N."
            raise NotFound(self.name, f"workers share no run {job!r}", fix)
        (_, owner, until, state, _, budget), *parts = map(tuple, rows)
        done = [runs.split()[-1] for _, _, _, state, runs, _ in parts if state == "done"]
        held = sum(state == "held" and until >= now for _, _, until, state, _, _ in parts)
        return JobState(
            len(done),
            held,
            len(parts) - len(done) - held,
            sum(part[-1] for part in parts),
            None if budget == NO_LIMIT else budget,
            owner if state == "held" and until >= now else "",
            state == "done",
            tuple(done),
        )

    def drive(self, job: str, owner: str, seconds: float) -> Lease | None:
        """Take the right to drive a run, ``None`` if another process has it."""
        with self.writing() as db:
            now = self.now(db)
            row = db.execute(_DRIVER, (job, now)).fetchone()
            if row is None:
                return None
            return _held(db, job, tuple(row), owner, now + round(seconds * NANO), None)

    def take(self, job: str, owner: str, seconds: float) -> Lease | None:
        """Take a part that waits, with a slice of the budget; ``None`` if there is none, or
        nothing is left of the budget.
        """
        with self.writing() as db:
            now = self.now(db)
            row = db.execute(_NEXT, (job, now)).fetchone()
            slice_ = _slice(db, job)
            if row is None or slice_ == 0:
                return None
            return _held(db, job, tuple(row), owner, now + round(seconds * NANO), slice_)

    def begin(self, lease: Lease, run: str) -> bool:
        """Note the run in which a part is executed; ``False`` if the lease was lost."""
        return self._changed(_BEGIN, (" ".join((*lease.runs, run)),), lease)

    def beat(self, lease: Lease, seconds: float) -> bool:
        """Hold a lease for longer; ``False`` if it was lost."""
        with self.writing() as db:
            until = self.now(db) + round(seconds * NANO)
            return bool(db.execute(_BEAT, (until, *_own(lease))).rowcount)

    def settle(self, lease: Lease, calls: int) -> bool:
        """Settle a part by the latest run of the lease, with the calls that all its runs sent.

        Returns:
            ``False`` if the lease was lost: the part is somebody else's, and nothing is changed.
        """
        return self._changed(_END, ("done", calls), lease)

    def give_back(self, lease: Lease, calls: int) -> bool:
        """Give a part back that isn't finished, so that another worker goes on with it."""
        return self._changed(_END, ("free", calls), lease)

    def _changed(self, sql: str, values: tuple[Any, ...], lease: Lease) -> bool:
        with self.writing() as db:
            return bool(db.execute(sql, (*values, *_own(lease))).rowcount)


def _own(lease: Lease) -> tuple[str, int, int, str]:
    return lease.job, lease.part, lease.epoch, lease.owner


# A slice counts as spent until its part is settled: that of a lost worker stays in the sum, and the
# next worker of the part gets another one.
def _slice(db: Any, job: str) -> int | None:
    """Return the calls that the next lease may send, ``None`` without a limit."""
    rows = db.execute(_ALL, (job,)).fetchall()
    budget = int(rows[0][5]) if rows else 0
    if budget == NO_LIMIT:
        return None
    left = max(0, budget - sum(int(row[5]) for row in rows[1:]))
    parts = sum(1 for row in rows[1:] if row[3] != "done")
    return min(left, max(-(-left // max(parts, 1)), LEAST))


def _held(  # noqa: PLR0913, PLR0917 - what a lease is made of
    db: Any, job: str, row: tuple[int, int, str, int], owner: str, until: int, slice_: int | None
) -> Lease:
    part, epoch, runs, calls = row
    db.execute(_HOLD, (owner, epoch + 1, until, calls + (slice_ or 0), job, part))
    return Lease(job, part, epoch + 1, owner, slice_, tuple(runs.split()))


@contextlib.contextmanager
def transaction(db: Any, commit: Callable[[], object]) -> Any:
    """Give a connection in a transaction that excludes other writers; commit it, and close it."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        commit()
    finally:
        if db.in_transaction:
            db.rollback()
        db.close()
