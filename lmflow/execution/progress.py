"""The progress of an executor's jobs: trackers that read the job's account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lmflow.execution.account import Account
from lmflow.execution.budget import Spent
from lmflow.execution.session import Session
from lmflow.optimizers.parts.needs import Need
from lmflow.progress.display import Progress
from lmflow.progress.tracker import Spending, Tracker, tracking
from lmflow.progress.update import Best


@contextlib.contextmanager
def tracked(
    session: Session, progress: Progress | None, title: str, total: int | None
) -> Iterator[Tracker]:
    """Show the progress of a job until the block ends.

    Args:
        session: The session of the job; its account counts the calls.
        progress: The display; chosen by where the process runs if ``None``.
        title: The name of the job.
        total: The steps, ``None`` if nobody knows.

    Returns:
        A context manager that gives the tracker.

    Raises:
        TypeError: ``progress`` is not a display.
    """
    account, waves = session.account, session.connections.waves
    before = account.ledger.spent
    tracker = Tracker(
        title,
        total,
        lambda: _spending(account.ledger.spent - before),
        _calls_left(account),
        lambda: waves.text,
    )
    with tracking(progress, tracker, session.connections.screen), waves.watched(tracker.tell):
        yield tracker


def best_of(need: Need) -> Best | None:
    """Return the best score that a need names, with its interval, ``None`` if it names none."""
    if need.estimate is not None:
        return Best(need.estimate.value, need.estimate.low, need.estimate.high)
    return None if need.score is None else Best(need.score)


def _spending(spent: Spent) -> Spending:
    nothing_priced = spent.unknown == spent.calls and not spent.cost
    cost = None if spent.calls and nothing_priced else spent.cost
    return Spending(spent.calls, cost, spent.unknown)


def _calls_left(account: Account) -> int | None:
    """Return the most calls that the account and those above it still allow."""
    limits = [each.left.calls for each in account.bounded]
    return min((limit for limit in limits if limit is not None), default=None)
