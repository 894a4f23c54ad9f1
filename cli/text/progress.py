"""Live progress of an optimization on standard error: a panel in a terminal, else a line per
phase.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import attrs
import click

from lmflow.cli.text.terminal import line
from lmflow.execution.budget import Budget, Spent
from lmflow.execution.jobs.optimize import OnNeed
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import Bound

_MINUTES_FROM = 90  # seconds


@attrs.define
class Watched:
    """The progress of an optimization: the last need, the rollouts requested, the start time."""

    bound: Bound
    budget: Budget | None
    spent: Callable[[], Spent]
    need: Need | None = None
    asked: int = 0
    began: float = attrs.field(factory=time.monotonic)

    def tell(self, need: Need, fresh: int) -> None:
        """Record the next need and how many of its rollouts are new."""
        self.need = need
        self.asked += fresh

    def words(self) -> str:
        """Return the progress on one line."""
        if self.need is None:
            return "loading the model and the data"
        seconds, spent = time.monotonic() - self.began, self.spent()
        best = "no score yet" if self.need.score is None else f"best {self.need.score:.3f}"
        facts = [
            line(self.need.phase, 40),
            best,
            f"{self.asked} of at most {self._most} rollouts",
            self._calls(spent),
            duration(seconds),
        ]
        if remaining := self._remaining(seconds, spent):
            facts.append(f"at most {duration(remaining)} left")
        return "  ·  ".join(facts)

    @property
    def _most(self) -> int:
        return self.bound.rollouts + self.bound.proposals + self.bound.judgements

    def _calls(self, spent: Spent) -> str:
        limit = ""
        if self.budget and self.budget.calls is not None:
            limit = f" of {self.budget.calls:,}"
        tokens_and_cost = str(attrs.evolve(spent, calls=0)).partition(", ")[2]
        suffix = f", {tokens_and_cost}" if tokens_and_cost else ""
        return f"{spent.calls:,}{limit} calls{suffix}"

    def _remaining(self, seconds: float, spent: Spent) -> float:
        """Estimate the seconds until the call budget or the bound is reached, at the pace so far;
        0 if the pace is unknown.
        """
        shares = [self.asked / self._most if self._most else 0.0]
        if self.budget and self.budget.calls:
            shares.append(spent.calls / self.budget.calls)
        share = min(1.0, max(shares))
        return seconds * (1 - share) / share if share and spent.calls else 0.0


@contextlib.contextmanager
def watching(watched: Watched, *, quiet: bool) -> Iterator[OnNeed]:
    """Show the progress until the block ends; ``quiet`` shows nothing."""
    if quiet:
        yield watched.tell
        return
    from rich.console import Console  # noqa: PLC0415 - commands without progress don't pay for it
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_per_phase(watched)
        return
    spinner = Spinner("dots")

    def updated() -> Spinner:
        spinner.update(text=watched.words())
        return spinner

    with Live(get_renderable=updated, console=console, refresh_per_second=4, transient=True):
        yield watched.tell


def duration(seconds: float) -> str:
    """Return a duration in seconds, or in minutes if it is long."""
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min"


def _line_per_phase(watched: Watched) -> OnNeed:
    """Return a listener that prints a line when a phase begins."""

    def tell(need: Need, fresh: int) -> None:
        new_phase = watched.need is None or watched.need.phase != need.phase
        watched.tell(need, fresh)
        if new_phase:
            click.echo(watched.words(), err=True)

    return tell
