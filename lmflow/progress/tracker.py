"""Counts the steps of long work while it runs, and tells its display."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import attrs

from lmflow.progress.display import Progress, Show, chosen, opened
from lmflow.progress.terminal import Screen
from lmflow.progress.update import Best, ProgressUpdate


@attrs.frozen
class Spending:
    """The calls of a job so far, as its account counts them; see ``ProgressUpdate``."""

    calls: int = 0
    cost: int | None = 0
    unpriced: int = 0


def _no_calls() -> Spending:
    return Spending()


class Tracker:
    """The progress of one job. ``step`` and ``begin_phase`` say what happens; ``now`` tells it."""

    def __init__(
        self,
        title: str,
        total: int | None,
        spending: Callable[[], Spending] = _no_calls,
        calls_limit: int | None = None,
        waves: Callable[[], str] = str,
    ) -> None:
        self._title, self.total = title, total
        self._spending, self._calls_limit, self._waves = spending, calls_limit, waves
        self._done = self._failures = 0
        self._phase = ""
        self._best: Best | None = None
        self._began, self._ended = time.monotonic(), 0.0
        self.show: Show | None = None

    def step(self, succeeded: bool) -> None:  # noqa: FBT001 - one fact
        """Count a step that has ended."""
        if not succeeded:
            self._failures += 1
        self.count(1)

    def count(self, steps: int) -> None:
        """Count several steps that have ended."""
        self._done += steps
        self.tell()

    def begin_phase(self, phase: str, best: Best | None = None) -> None:
        """Note the phase that begins, and the best score before it."""
        self._phase, self._best = phase, best or self._best
        self.tell()

    def end(self) -> None:
        """Note that the job has ended."""
        self._ended = time.monotonic()
        self.tell()

    def now(self) -> ProgressUpdate:
        """Return the update that is true now. Any thread may ask."""
        spending = self._spending()
        return ProgressUpdate(
            title=self._title,
            done=self._done,
            total=self.total,
            failures=self._failures,
            calls=spending.calls,
            calls_limit=self._calls_limit,
            cost=spending.cost,
            unpriced=spending.unpriced,
            phase=self._phase,
            best=self._best,
            waves=self._waves(),
            seconds=(self._ended or time.monotonic()) - self._began,
            ended=bool(self._ended),
        )

    def tell(self) -> None:
        """Tell the display that something has changed."""
        if self.show is not None:
            self.show()


@contextlib.contextmanager
def tracking(
    progress: Progress | None, tracker: Tracker, screen: Screen | None = None
) -> Iterator[Tracker]:
    """Show a tracker until the block ends.

    Args:
        progress: The display; chosen by where the process runs if ``None``.
        tracker: The tracker.
        screen: The lines of the executor on the terminal; new ones if ``None``.

    Returns:
        A context manager that gives the tracker.

    Raises:
        TypeError: ``progress`` is not a display.
    """
    with opened(chosen(progress), tracker.now, screen or Screen()) as show:
        tracker.show = show
        show()
        try:
            yield tracker
        finally:
            tracker.end()
