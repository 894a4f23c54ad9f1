"""The progress of long work as a value, and the text that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from lmflow.values.printing import printable

_NANO = 1_000_000_000
_MINUTES_FROM = 90  # seconds
_HOURS_FROM = 90  # minutes
_WIDEST_NAME = 40


@attrs.frozen
class Best:
    """The best mean score of an optimization so far, with its 95 % interval.

    Attributes:
        value: The mean.
        low: The lower end of the interval, ``None`` if there is no interval.
        high: The upper end of the interval, ``None`` if there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@attrs.frozen(kw_only=True)
class ProgressUpdate:
    """How far long work is. A function that is given as ``progress`` is called with one of these
    when the work begins, after each step, when a phase begins, and when the work ends.

    Attributes:
        title: The name of the work: of the program, the optimizer and the program, or ``index``.
        done: The steps that are done: executions, or passages of an index.
        total: All steps; for an optimization the most that there can be; ``None`` if nobody knows.
        failures: The steps that failed.
        calls: The calls of models that were sent.
        calls_limit: The most calls that the budget allows, ``None`` without such a limit.
        cost: Nano-dollars of the calls with a known price; ``None`` if no call has one.
        unpriced: The calls whose price is unknown.
        phase: The stage of an optimization, in words; otherwise empty.
        best: The best score of an optimization so far, ``None`` if there is none yet.
        waves: How far the waves of batched requests are, in words; empty without any.
        seconds: The seconds since the work began.
        ended: Whether this is the last update.

    Example:
        >>> update = ProgressUpdate(title="answer", done=3, total=4, calls=3, seconds=6.0)
        >>> str(update)
        'answer  3/4  3 calls  2 s left'
    """

    title: str
    done: int = 0
    total: int | None = None
    failures: int = 0
    calls: int = 0
    calls_limit: int | None = None
    cost: int | None = 0
    unpriced: int = 0
    phase: str = ""
    best: Best | None = None
    waves: str = ""
    seconds: float = 0.0
    ended: bool = False

    @property
    def share(self) -> float | None:
        """The share of the work that is done, from 0 to 1: of the steps, or of the budget's calls
        if more of those are spent. ``None`` if nobody knows.
        """
        shares = []
        if self.total is not None:
            shares.append(self.done / self.total if self.total else 1.0)
        if self.calls_limit:
            shares.append(self.calls / self.calls_limit)
        return min(1.0, max(shares)) if shares else None

    @property
    def left(self) -> float | None:
        """The seconds until the end at the pace so far; ``None`` if nobody can tell."""
        if self.ended or not self.share:
            return None
        return self.seconds * (1 - self.share) / self.share

    def __str__(self) -> str:
        return "  ".join(text for _, text in facts(self))


def silent(update: ProgressUpdate) -> None:
    """Show nothing: ``progress=lf.silent``."""
    del update


Listener = Callable[[ProgressUpdate], object]
"""A function that is called with each update."""


def facts(update: ProgressUpdate) -> Iterator[tuple[str, str]]:
    """Yield the parts of the line that shows an update, each with its name, in order.

    Names of programs and phases may come from anywhere, so they are cleaned for the terminal.
    """
    yield "title", printable(update.title, _WIDEST_NAME)
    yield "count", _count_text(update)
    if update.failures:
        yield "failures", f"{update.failures:,} failed"
    if update.phase:
        yield "phase", printable(update.phase, _WIDEST_NAME)
    if update.best is not None:
        yield "best", f"best {update.best}"
    if update.waves:
        yield "waves", update.waves
    if update.calls or update.calls_limit is not None:
        yield "calls", _calls_text(update)
    if update.cost:
        yield "cost", dollars(update.cost)
    if update.ended:
        yield "time", f"in {duration(update.seconds)}"
    elif update.left is not None:
        yield "time", f"{duration(update.left)} left"


def duration(seconds: float) -> str:
    """Return a duration in seconds, or in minutes or hours if it is long."""
    if seconds < _MINUTES_FROM:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < _HOURS_FROM else f"{minutes / 60:.1f} h"


def dollars(cost: int) -> str:
    """Return nano-dollars as dollars, small amounts with two significant digits."""
    value = cost / _NANO
    return f"${value:,.2f}" if value >= 1 else f"${value:.2g}"


def _count_text(update: ProgressUpdate) -> str:
    return f"{update.done:,}" if update.total is None else f"{update.done:,}/{update.total:,}"


def _calls_text(update: ProgressUpdate) -> str:
    if update.calls_limit is not None:
        return f"{update.calls:,} of {update.calls_limit:,} calls"
    return f"{update.calls:,} call{'' if update.calls == 1 else 's'}"
