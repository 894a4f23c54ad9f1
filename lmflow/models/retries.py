"""Retries of a model's transient failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from lmflow.errors import FailureKind, ModelFailed
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Model, Send, Wrapper
from lmflow.values.record import Record

if TYPE_CHECKING:
    from tenacity import RetryCallState

ATTEMPTS = 4
"""How often a request is sent at most, unless the caller says otherwise."""
LONGEST = 30.0
"""The longest wait between two attempts, in seconds."""
TRANSIENT: frozenset[FailureKind] = frozenset({"unreachable", "timeout", "rate_limit", "server"})
"""Kinds of failures that a retry may mend."""


@attrs.frozen(eq=False)
class Retrying(Wrapper):
    """Retries a model's transient failures; every attempt is recorded."""

    attempts: Mapping[str, int]
    longest: float = LONGEST

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first reply of the model. Raises the last ``ModelFailed`` once the attempts of its
        kind are used up.
        """
        try:
            return await self.model(request, send)
        except ModelFailed as failure:
            return await self._retry(request, send, failure)

    async def _retry(self, request: ModelRequest, send: Send, failure: ModelFailed) -> ModelReply:
        """The reply after a first failure."""
        # tenacity is slow to import, and its objects cost more than a call on a quick server: it is
        # only used after a first failure, which its first attempt raises again, to be counted.
        from tenacity import AsyncRetrying, retry_if_exception  # noqa: PLC0415

        failures = [failure]
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(self._is_transient),
            stop=self._is_last,
            wait=self._seconds_to_wait,
            reraise=True,
        ):
            with attempt:
                if failures:
                    raise failures.pop()
                return await self.model(request, send)
        raise AssertionError  # pragma: no cover - reraise ends the loop

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, ModelFailed) and error.kind in self.attempts

    def _is_last(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ModelFailed):
            return True
        return state.attempt_number >= self.attempts.get(error.kind, 1)

    def _seconds_to_wait(self, state: RetryCallState) -> float:
        from tenacity import wait_random_exponential  # noqa: PLC0415 - slow, see _retry

        error = state.outcome.exception() if state.outcome else None
        retry_after = error.retry_after if isinstance(error, ModelFailed) else None
        # Jitter: callers that a server refused together must not come back together.
        backoff = wait_random_exponential(multiplier=0.4, max=self.longest)(state)
        return min(max(retry_after or 0.0, backoff), self.longest)


def retried(
    model: Model,
    attempts: int = ATTEMPTS,
    longest: float = LONGEST,
    policy: Mapping[str, int] | None = None,
) -> Retrying:
    """Wrap a model so that its transient failures are retried; see ``retrying``."""
    kinds: dict[str, int] = {**dict.fromkeys(TRANSIENT, attempts), **(policy or {})}
    return Retrying(model, Record(kinds), longest)
