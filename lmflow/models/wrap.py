"""Models around models: ``retrying`` asks again, ``fallback`` asks another, ``routed`` asks the one
that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from lmflow.errors import ModelFailed, listed, near
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Around, Model, Send, passing
from lmflow.values.record import Record

PASSING = frozenset({"unreachable", "timeout", "rate_limit", "server"})
ELSEWHERE = PASSING | {"auth", "quota", "unknown_model", "bad_reply", "too_long", "media"}


@attrs.frozen(eq=False)
class Retrying(Around):
    """Asks the model again where it failed for a reason that may pass; every attempt is recorded."""

    attempts: Mapping[str, int]
    longest: float = 30.0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The model's first reply. Raises the last ``ModelFailed`` after its kind's attempts."""
        try:
            return await self.model(request, send)
        except ModelFailed as failure:
            return await self._again(request, send, failure)

    async def _again(self, request: ModelRequest, send: Send, failure: ModelFailed) -> ModelReply:
        """The reply after a first failure: what counts attempts is made only where there is more
        than one.
        """
        retry, failures = retry_if_exception(self._may_pass), [failure]
        async for attempt in AsyncRetrying(
            retry=retry, stop=self._enough, wait=self._wait, reraise=True
        ):
            with attempt:
                if failures:
                    raise failures.pop()
                return await self.model(request, send)
        raise AssertionError  # pragma: no cover - reraise ends the loop

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, ModelFailed) and error.kind in self.attempts

    def _enough(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return not isinstance(error, ModelFailed) or state.attempt_number >= self.attempts.get(
            error.kind, 1
        )

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ModelFailed) else None
        backoff = wait_random_exponential(multiplier=0.4, max=self.longest)(state)
        return min(max(asked or 0.0, backoff), self.longest)


def retrying(
    model: Model,
    *,
    attempts: int = 4,
    longest: float = 30.0,
    policy: Mapping[str, int] | None = None,
) -> Retrying:
    """The model, asked at most ``attempts`` times with jittered backoff of at most ``longest``
    seconds; ``Retry-After`` is heeded up to that. Only what may pass is retried: unreachable,
    timeout, rate limit, server errors.

    ``policy`` gives single kinds of ``ModelFailed`` attempts of their own: ``{"rate_limit": 10,
    "timeout": 1}``.
    """
    return Retrying(model, Record({**dict.fromkeys(PASSING, attempts), **(policy or {})}), longest)


@attrs.frozen(eq=False)
class Fallback:
    """Asks its models in their order until one answers; every attempt is recorded under the model
    that was asked.
    """

    models: tuple[Model, ...]
    on: frozenset[str]

    @property
    def name(self) -> str:
        """All names, in their order."""
        return f"fallback({', '.join(model.name for model in self.models)})"

    @property
    def endpoint(self) -> str:
        """All endpoint classes, in their order."""
        return _endpoints(self.models)

    @property
    def inner(self) -> tuple[Model, ...]:
        """The models."""
        return self.models

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first model's reply that is one. Raises the last ``ModelFailed``, and at once what
        isn't ``on``.
        """
        for model in self.models[:-1]:
            try:
                return await model(_for(request, model), passing(send, model))
            except ModelFailed as failure:
                if failure.kind not in self.on:
                    raise
        return await self.models[-1](_for(request, self.models[-1]), passing(send, self.models[-1]))

    async def aclose(self) -> None:
        """Close the models."""
        await _closed(self.models)


def fallback(*models: Model, on: Collection[str] = ELSEWHERE) -> Fallback:
    """The models as one, asked in turn where the one before failed with a kind in ``on``: by
    default with all kinds but ``request``, since a mistake in the request stays one.
    ``ValueError`` for no model.
    """
    if not models:
        msg = "fallback needs a model: lf.fallback(first, second)"
        raise ValueError(msg)
    return Fallback(models, frozenset(on))


@attrs.frozen(eq=False)
class Routed:
    """Asks the model that a function of the request chooses, or that a step names; the attempt
    names that model.
    """

    models: Mapping[str, Model]
    choose: Callable[[ModelRequest], str]

    @property
    def name(self) -> str:
        """All names, in their order."""
        return f"routed({', '.join(model.name for model in self.models.values())})"

    @property
    def endpoint(self) -> str:
        """All endpoint classes, in their order."""
        return _endpoints(self.inner)

    @property
    def inner(self) -> tuple[Model, ...]:
        """The models."""
        return tuple(self.models.values())

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The chosen model's reply. ``KeyError`` where the function names none of the models."""
        name = self.choose(request)
        if name not in self.models:
            msg = f"the route {name!r} is none of {listed(self.models)}.{near(str(name), self.models)}"
            raise KeyError(msg)
        model = self.models[name]
        return await model(_for(request, model), passing(send, model))

    async def aclose(self) -> None:
        """Close the models."""
        await _closed(self.models.values())


def routed(
    models: Mapping[str, Model], choose: Callable[[ModelRequest], str] | None = None
) -> Routed:
    """Models by short names, as one. A step that names one (``predict(..., model="fast")``, the
    parameter ``answer.model``) gets it; for the others ``choose`` gives the name by the request,
    by default the first.

    ``choose`` must be pure: a run that is resumed asks it again. ``ValueError`` for no model.
    """
    if not models:
        msg = 'routed needs models: lf.routed({"fast": a, "good": b})'
        raise ValueError(msg)
    first = next(iter(models))
    return Routed(dict(models), choose or (lambda _: first))


def _for(request: ModelRequest, model: Model) -> ModelRequest:
    return attrs.evolve(request, model=model.name, endpoint=model.endpoint)


def _endpoints(models: Collection[Model]) -> str:
    return ", ".join(dict.fromkeys(model.endpoint for model in models))


async def _closed(models: Collection[Model]) -> None:
    for model in models:
        await model.aclose()
