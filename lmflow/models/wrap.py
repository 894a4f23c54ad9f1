"""Models around models: ``retrying`` retries transient failures, ``fallback`` tries the next model,
``routed`` chooses a model by the request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping

import attrs

from lmflow.errors import FailureKind, ModelFailed, ModelUnavailable, listed, near
from lmflow.errors.options import RETRY_OPTIONS, explains_options
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Http, Model, Send, send_as
from lmflow.models.registry import bare_model_of, model_of
from lmflow.models.retries import ATTEMPTS, LONGEST, TRANSIENT, Retrying, retried

ELSEWHERE: frozenset[FailureKind] = TRANSIENT | frozenset[FailureKind](
    {
        "auth",
        "quota",
        "unknown_model",
        "bad_reply",
        "too_long",
        "media",
        "refusal",
        "content_filter",
        "empty",
        "paused",
        "unavailable",
    }
)
"""Kinds of failures that another model may mend."""


@explains_options(RETRY_OPTIONS)
def retrying(
    model: Model | str,
    *,
    attempts: int = ATTEMPTS,
    longest: float = LONGEST,
    policy: Mapping[str, int] | None = None,
) -> Retrying:
    """Wraps a model so that its transient failures are retried: unreachable, timeout, rate limit
    and server errors. ``lf.model`` wraps its models so.

    Args:
        model: The model to wrap, or its name, ``provider/model``.
        attempts: How often a request is sent at most.
        longest: The longest wait between two attempts, in seconds. The wait is a jittered backoff,
            or the server's ``Retry-After`` if that is longer.
        policy: Attempts of single kinds of ``ModelFailed``: ``{"rate_limit": 10, "timeout": 1}``.

    Returns:
        A model with the wrapped model's name and endpoint, which raises the last failure.

    Raises:
        ModelUnavailable: The named model can't be used.

    Example:
        >>> import lmflow as lf
        >>> lf.retrying(lf.scripted({"": "fine"}), attempts=2).name
        'scripted/model'
    """
    # A named model is made without the retries of ``lf.model``, which would multiply these.
    return retried(bare_model_of(model), attempts, longest, policy)


@attrs.frozen(eq=False)
class Fallback:
    """Calls its models in their order until one answers; every attempt is recorded under the model
    that was called.
    """

    models: tuple[Model, ...]
    on: frozenset[str]

    @property
    def name(self) -> str:
        """The names of all models, in their order."""
        return f"fallback({', '.join(model.name for model in self.models)})"

    @property
    def endpoint(self) -> str:
        """The endpoint classes of all models, in their order."""
        return _endpoints(self.models)

    @property
    def inner(self) -> tuple[Model, ...]:
        """The wrapped models."""
        return self.models

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first reply of a model. Raises the last model's ``ModelFailed``, or at once one whose
        kind isn't in ``on``.
        """
        *earlier, last = self.models
        for model in earlier:
            try:
                return await _call(model, request, send)
            except ModelFailed as failure:
                if failure.kind not in self.on:
                    raise
        return await _call(last, request, send)

    async def aclose(self) -> None:
        """Closes all models."""
        await _close_all(self.models)


def fallback(*models: Model | str, on: Collection[str] = ELSEWHERE) -> Fallback:
    """Joins models into one that calls the next model if the one before failed.

    Args:
        models: The models or their names, ``provider/model``, in their order.
        on: The kinds of ``ModelFailed`` after which the next model is called; by default all but
            ``request``, since a mistake in the request fails everywhere.

    Returns:
        A model whose attempts are recorded under the model that was called.

    Raises:
        ValueError: Without a model.
        ModelUnavailable: A named model can't be used.

    Example:
        >>> import lmflow as lf
        >>> first, second = lf.scripted([], name="a/one"), lf.scripted({"": "fine"}, name="b/two")
        >>> lf.fallback(first, second, on={"request"}).name
        'fallback(a/one, b/two)'
    """
    if not models:
        msg = "fallback needs a model: lf.fallback(first, second)"
        raise ValueError(msg)
    return Fallback(tuple(map(model_of, models)), frozenset(on))


@attrs.frozen(eq=False)
class Routed:
    """Calls the model that a function of the request chooses, or that a step names; the attempt
    names that model.
    """

    models: Mapping[str, Model]
    choose: Callable[[ModelRequest], str]

    @property
    def name(self) -> str:
        """The names of all models, in their order."""
        return f"routed({', '.join(model.name for model in self.models.values())})"

    @property
    def endpoint(self) -> str:
        """The endpoint classes of all models, in their order."""
        return _endpoints(self.inner)

    @property
    def inner(self) -> tuple[Model, ...]:
        """The wrapped models."""
        return tuple(self.models.values())

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The reply of the chosen model. ``KeyError`` if the function names an unknown one."""
        name = self.choose(request)
        if name not in self.models:
            hint = near(str(name), self.models)
            msg = f"the route {name!r} is none of {listed(self.models)}.{hint}"
            raise KeyError(msg)
        return await _call(self.models[name], request, send)

    async def aclose(self) -> None:
        """Closes all models."""
        await _close_all(self.models.values())


def routed(
    models: Mapping[str, Model | str], choose: Callable[[ModelRequest], str] | None = None
) -> Routed:
    """Joins models into one that chooses a model by the request.

    A step that names a model (``predict(..., model="fast")``, or the parameter ``answer.model``)
    gets that model.

    Args:
        models: The models, or their names ``provider/model``, by short names.
        choose: Gives the name for requests of all other steps, by default the first name. It must
            be pure, since a resumed run calls it again.

    Returns:
        A model whose attempts are recorded under the chosen model.

    Raises:
        ValueError: Without a model.
        ModelUnavailable: A named model can't be used.

    Example:
        >>> import lmflow as lf
        >>> lf.routed({"fast": lf.scripted({"": "fine"})}).name
        'routed(scripted/model)'
    """
    if not models:
        msg = 'routed needs models: lf.routed({"fast": a, "good": b})'
        raise ValueError(msg)
    first = next(iter(models))
    return Routed(
        {name: model_of(model) for name, model in models.items()}, choose or (lambda _: first)
    )


async def _call(model: Model, request: ModelRequest, send: Send) -> ModelReply:
    """The reply of one of a wrapper's models to the request under that model's name."""
    addressed = attrs.evolve(request, model=model.name, endpoint=model.endpoint)
    attempt = send_as(send, model)
    try:
        return await model(addressed, attempt)
    except ModelUnavailable as problem:
        # It is an attempt on record, so that a replay goes on to the next model too.
        return await attempt(functools.partial(_raise, problem))


async def _raise(problem: ModelUnavailable, _: Http) -> ModelReply:
    raise problem


def _endpoints(models: Collection[Model]) -> str:
    return ", ".join(dict.fromkeys(model.endpoint for model in models))


async def _close_all(models: Collection[Model]) -> None:
    for model in models:
        await model.aclose()
