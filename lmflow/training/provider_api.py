"""Requests to a provider that trains: JSON in and out, sent again if they are lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import attrs

from lmflow.errors import clipped
from lmflow.training.problems import TrainingProblem

_FIRST_ERROR, _SERVER_ERROR = 400, 500
_PENDING, _TOO_MANY = 408, 429
_TRIES = 5  # requests that are lost on the way, one after the other
_SECONDS = 120.0  # for one request
_SHOWN = 300  # characters of an answer that an error shows


@attrs.frozen
class ProviderApi:
    """Asks a provider, by a session that holds the key."""

    session: Any
    url: str

    async def ask(  # noqa: PLR0913 - each is an option
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Callable[[], Any] | None = None,
        once: bool = False,
        pending: Any = None,
    ) -> Any:
        """Send a request and return the JSON of its answer.

        Args:
            method: The HTTP method.
            path: The path below the provider's URL.
            body: The JSON values to send.
            form: Makes the form to send instead.
            once: Whether a request of which nobody knows if it arrived isn't sent again.
            pending: What to return for status 408, by which a provider says that it still works.

        Raises:
            TrainingProblem: The provider refuses, can't be reached, or answers without JSON.
        """
        import aiohttp  # noqa: PLC0415 - slow to import

        problem = ""
        for attempt in range(_TRIES):
            await asyncio.sleep(0.2 * (2**attempt - 1))
            sent = {"data": form()} if form else {"json": body}
            try:
                async with self.session.request(method, f"{self.url}/{path}", **sent) as reply:
                    text = await reply.text()
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
                if once:
                    break
                continue
            if reply.status < _FIRST_ERROR:
                return _json(text)
            if reply.status == _PENDING and pending is not None:
                return pending
            problem = f"status {reply.status}: {clipped(text, _SHOWN)}"
            if reply.status != _TOO_MANY and reply.status < _SERVER_ERROR:
                break
        raise TrainingProblem("provider", f"{self.url}/{path} can't be used: {problem}")


@contextlib.asynccontextmanager
async def provider_api(url: str, headers: Mapping[str, str]) -> AsyncIterator[ProviderApi]:
    """Open a session with a provider while the block lasts."""
    import aiohttp  # noqa: PLC0415 - slow to import

    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield ProviderApi(session, url)


def text_in(answer: Any, field: str) -> str:
    """Return a field of an answer. ``TrainingProblem`` unless it holds a text."""
    value = answer.get(field) if isinstance(answer, Mapping) else None
    if not isinstance(value, str) or not value:
        msg = f"the provider's answer has no {field!r}: {clipped(str(answer), _SHOWN)}"
        raise TrainingProblem("provider", msg)
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        msg = f"the provider answered with something else than JSON: {clipped(text, _SHOWN)}"
        raise TrainingProblem("provider", msg) from None
