"""An optimization as it goes on, live on standard error: a panel in a terminal, else a line a
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
from lmflow.execution.optimize import Tell
from lmflow.optimizers.parts.plan import Bound, Need

_LONG = 90  # seconds from which time is told in minutes


@attrs.define
class Watched:
    """What is known so far: the last need, how many rollouts were asked for and when it began."""

    bound: Bound
    budget: Budget | None
    spent: Callable[[], Spent]
    need: Need | None = None
    asked: int = 0
    began: float = attrs.field(factory=time.monotonic)

    def tell(self, need: Need, fresh: int) -> None:
        """Take in the next need."""
        self.need = need
        self.asked += fresh

    def words(self) -> str:
        """All of it on one line."""
        if self.need is None:
            return "loading the model and the data"
        seconds, spent = time.monotonic() - self.began, self.spent()
        best = "no score yet" if self.need.score is None else f"best {self.need.score:.3f}"
        most = self.bound.rollouts + self.bound.proposals + self.bound.judgements
        left = self._left(seconds, spent)
        facts = [
            line(self.need.phase, 40),
            best,
            f"{self.asked} of at most {most} rollouts",
            self._calls(spent),
        ]
        return "  ·  ".join(
            [*facts, duration(seconds), *([f"at most {duration(left)} left"] if left else [])]
        )

    def _calls(self, spent: Spent) -> str:
        limit = (
            f" of {self.budget.calls:,}" if self.budget and self.budget.calls is not None else ""
        )
        rest = str(attrs.evolve(spent, calls=0)).partition(", ")[2]
        return f"{spent.calls:,}{limit} calls{f', {rest}' if rest else ''}"

    def _left(self, seconds: float, spent: Spent) -> float:
        """The seconds until the budget of calls or the bound is reached, whichever is sooner, at
        the pace so far.
        """
        most = self.bound.rollouts + self.bound.proposals + self.bound.judgements
        shares = [self.asked / most if most else 0.0]
        if self.budget and self.budget.calls:
            shares.append(spent.calls / self.budget.calls)
        share = min(1.0, max(shares))
        return seconds * (1 - share) / share if share and spent.calls else 0.0


@contextlib.contextmanager
def watching(seen: Watched, *, quiet: bool) -> Iterator[Tell]:
    """Show it while it lasts; ``quiet`` shows nothing."""
    if quiet:
        yield seen.tell
        return
    from rich.console import Console  # noqa: PLC0415 - only who watches pays for it
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(seen)
        return
    spinner = Spinner("dots")

    def shown() -> Spinner:
        spinner.update(text=seen.words())
        return spinner

    with Live(get_renderable=shown, console=console, refresh_per_second=4, transient=True):
        yield seen.tell


def duration(seconds: float) -> str:
    """A time as a person says it."""
    return f"{seconds:.0f} s" if seconds < _LONG else f"{seconds / 60:.0f} min"


def _lines(seen: Watched) -> Tell:
    """Says a line where another phase begins."""

    def tell(need: Need, fresh: int) -> None:
        other = seen.need is None or seen.need.phase != need.phase
        seen.tell(need, fresh)
        if other:
            click.echo(seen.words(), err=True)

    return tell
