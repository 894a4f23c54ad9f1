"""Limits that an optimizer's schedule is fitted to."""

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
