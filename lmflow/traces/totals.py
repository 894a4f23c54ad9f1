"""The calls of executions counted: how many, how many failed, what they took."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.traces.calls import CallAttempt
from lmflow.views.amounts import dollars
from lmflow.views.lines import counted


@attrs.frozen
class Totals:
    """Sums over calls.

    Attributes:
        calls: The attempts of calls of models and tools.
        failed: The attempts that failed.
        orphans: The attempts that never ended.
        reused: The attempts whose reply was reused from another recording.
        read: The tokens that models read for calls that were sent, as far as they are known.
        written: The tokens that models wrote.
        cost: The known nano-dollars that were paid; ``None`` if no price is known.
        unpriced: The calls that were paid at an unknown price.
    """

    calls: int = 0
    failed: int = 0
    orphans: int = 0
    reused: int = 0
    read: int = 0
    written: int = 0
    cost: int | None = None
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """The tokens read and written."""
        return self.read + self.written

    @property
    def usd(self) -> float | None:
        """The known dollars that were paid; ``None`` if no price is known."""
        return None if self.cost is None else self.cost / 1e9

    @property
    def words(self) -> str:
        """The sums in words: ``2 calls (1 failed), 431 tokens, $0.0004``."""
        notable = {"failed": self.failed, "never ended": self.orphans, "reused": self.reused}
        of_them = ", ".join(f"{count:,} {what}" for what, count in notable.items() if count)
        parts = [counted(self.calls, "call") + (f" ({of_them})" if of_them else "")]
        if self.tokens:
            parts.append(counted(self.tokens, "token"))
        if self.cost:
            parts.append(dollars(self.usd, self.unpriced))
        return ", ".join(parts)


NO_CALLS = Totals()


class Sums:
    """Sums over calls that are added one by one."""

    __slots__ = (*("calls", "cost", "failed", "orphans", "read", "reused", "unpriced", "written"),)

    def __init__(self) -> None:
        self.calls = self.failed = self.orphans = self.reused = 0
        self.read = self.written = self.unpriced = 0
        self.cost: int | None = None

    def add(self, calls: Iterable[CallAttempt]) -> None:
        """Add calls. Tokens and costs are those of calls that were sent, not of reused ones."""
        for call in calls:
            self.calls += 1
            status = call.status
            self.failed += status == "failed"
            self.orphans += status == "started"
            if call.source:
                self.reused += 1
                continue
            if isinstance(call.outcome, (ChatReply, EmbedReply)):
                self.read += call.outcome.usage.prompt or 0
                self.written += call.outcome.usage.completion or 0
                self.unpriced += call.cost is None
            if call.cost is not None:
                self.cost = (self.cost or 0) + call.cost

    def totals(self) -> Totals:
        """Return the sums so far."""
        return Totals(
            self.calls,
            self.failed,
            self.orphans,
            self.reused,
            self.read,
            self.written,
            self.cost,
            self.unpriced,
        )


def totals(calls: Iterable[CallAttempt]) -> Totals:
    """Add up calls. Tokens and costs are those of calls that were sent, not of reused ones."""
    sums = Sums()
    sums.add(calls)
    return sums.totals()
