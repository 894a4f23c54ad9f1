"""The calls of executions counted: how many, how many failed, what they took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.traces.calls import CallAttempt
from lmflow.views.lines import counted, dollars


@attrs.frozen
class Totals:
    """Sums over calls.

    Attributes:
        calls: The attempts of calls of models and tools.
        failed: The attempts that failed.
        orphans: The attempts that never ended.
        reused: The attempts whose reply was reused from another recording.
        read: The tokens that models read, as far as providers counted them.
        written: The tokens that models wrote.
        cost: The nano-dollars that were paid; ``None`` if the price of some call is unknown.
    """

    calls: int = 0
    failed: int = 0
    orphans: int = 0
    reused: int = 0
    read: int = 0
    written: int = 0
    cost: int | None = 0

    @property
    def tokens(self) -> int:
        """The tokens read and written."""
        return self.read + self.written

    @property
    def words(self) -> str:
        """The sums in words, ``2 calls, 431 tokens, $0.0004``; unknown ones are left out."""
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield counted(self.calls, "call")
        if self.failed:
            yield f"{self.failed:,} failed"
        if self.orphans:
            yield f"{self.orphans:,} never ended"
        if self.reused:
            yield f"{self.reused:,} reused"
        if self.tokens:
            yield counted(self.tokens, "token")
        if self.cost:
            yield dollars(self.cost)


def totals(calls: Iterable[CallAttempt]) -> Totals:
    """Add up calls."""
    count = failed = orphans = reused = read = written = 0
    cost: int | None = 0
    for call in calls:
        count += 1
        failed += call.status == "failed"
        orphans += call.status == "started"
        reused += bool(call.source)
        if isinstance(call.outcome, (ChatReply, EmbedReply)):
            read += call.outcome.usage.prompt or 0
            written += call.outcome.usage.completion or 0
        if call.kind != "tool" and not call.source:
            cost = None if cost is None or call.cost is None else cost + call.cost
    return Totals(count, failed, orphans, reused, read, written, cost)
