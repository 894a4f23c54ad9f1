"""The most that an optimizer needs, and the limits that its schedule is fitted to."""

from __future__ import annotations

import attrs


@attrs.frozen
class Limits:
    """The most that an optimization may take; ``None`` where nothing is limited.

    Attributes:
        calls: Model calls, recorded ones and those of proposers and judges included.
        tokens: Tokens read and written.
        usd: Dollars.
        reserved: Rollouts of the start version for which a limit of tokens or dollars leaves room:
            what the result is judged by afterwards. A limit of calls is given without them.
    """

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    reserved: int = 0

    @property
    def limited(self) -> bool:
        """True if anything is limited."""
        return any(limit is not None for limit in (self.calls, self.tokens, self.usd))


@attrs.frozen
class Bound:
    """The most rollouts that an optimizer needs: of the program, of proposers, and of the judge.

    ``calls`` is the most model calls of all together, if the optimizer limits them itself.
    """

    rollouts: int
    proposals: int = 0
    judgements: int = 0
    calls: int | None = attrs.field(default=None, repr=False)

    def within(self, calls: int | None) -> Bound:
        """Return the bound of a search that takes no more than so many calls; itself if ``None``.
        Each rollout takes a call or more.
        """
        if calls is None:
            return self
        rollouts, proposals = min(self.rollouts, calls), min(self.proposals, calls)
        return Bound(rollouts, proposals, self.judgements, calls)

    def __add__(self, other: Bound) -> Bound:
        both_limited = self.calls is not None and other.calls is not None
        return Bound(
            self.rollouts + other.rollouts,
            self.proposals + other.proposals,
            self.judgements + other.judgements,
            (self.calls or 0) + (other.calls or 0) if both_limited else None,
        )
