"""Models around models: ``retrying``."""

from __future__ import annotations

import attrs
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from lmflow.errors import ModelFailed
from lmflow.messages import ModelReply, ModelRequest
from lmflow.models.base import Model, Send

PASSING = frozenset({"unreachable", "timeout", "rate_limit", "server"})


@attrs.frozen(eq=False)
class Retrying:
    """Asks the model again where it failed for a reason that may pass; every attempt is recorded."""

    model: Model
    attempts: int = 4
    longest: float = 30.0

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def endpoint(self) -> str:
        """The model's."""
        return self.model.endpoint

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The model's first reply. Raises the last ``ModelFailed`` after ``attempts``."""
        again = AsyncRetrying(
            retry=retry_if_exception(_passing),
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            reraise=True,
        )
        async for attempt in again:
            with attempt:
                return await self.model(request, send)
        raise AssertionError  # pragma: no cover - reraise ends the loop

    async def aclose(self) -> None:
        """Close the model."""
        await self.model.aclose()

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ModelFailed) else None
        backoff = wait_random_exponential(multiplier=0.4, max=self.longest)(state)
        return min(max(asked or 0.0, backoff), self.longest)


def retrying(model: Model, *, attempts: int = 4, longest: float = 30.0) -> Retrying:
    """The model, asked at most ``attempts`` times with jittered backoff of at most ``longest`` seconds; ``Retry-After``
    is heeded up to that. Only what may pass is retried: unreachable, timeout, rate limit, server errors.
    """
    return Retrying(model, attempts, longest)


def _passing(error: BaseException) -> bool:
    return isinstance(error, ModelFailed) and error.kind in PASSING
