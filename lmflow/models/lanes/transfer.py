"""The way to a provider's files and batches: JSON, uploads, and answers read line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.transport.addresses import host_port
from lmflow.models.transport.responses import Server
from lmflow.models.transport.routes import TooLarge, read_body

if TYPE_CHECKING:
    import aiohttp

TRANSIENT = frozenset({"unreachable", "timeout", "rate_limit", "server"})
"""The kinds of failures after which the same question may be asked again."""
LONGEST_LINE = 64_000_000
"""The most bytes of one answer."""
_TRIES = 4
_SECONDS = 300.0
_LARGEST = 64_000_000


class Transfer:
    """Sends requests about batches with the headers of the live requests, over connections of its
    own. Failures are ``ModelFailed``, whose texts never hold the key.
    """

    def __init__(self, lane: str, headers: Mapping[str, str], pause: float = 1.0) -> None:
        self._lane, self._headers, self._pause = lane, dict(headers), pause
        self._secret = _secret_in(headers)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Return itself; connections are opened as they are needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str) -> Any:
        """Return a JSON value; transient failures are asked again."""
        failure: ModelFailed | None = None
        for attempt in range(_TRIES):
            await asyncio.sleep(self._pause * attempt)
            try:
                return await self._ask("GET", url)
            except ModelFailed as problem:
                if problem.kind not in TRANSIENT:
                    raise
                failure = problem
        raise failure or AssertionError

    async def post(self, url: str, body: Mapping[str, Any] | bytes) -> Any:
        """Post a JSON value, once, and return the answer's."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self._ask("POST", url, data=content, headers={"Content-Type": _JSON})

    async def upload(self, url: str, fields: Mapping[str, str], name: str, content: bytes) -> Any:
        """Upload a file as a form and return the answer's JSON value."""
        import aiohttp  # noqa: PLC0415 - slow to import

        form = aiohttp.FormData()
        for field, value in fields.items():
            form.add_field(field, value)
        form.add_field("file", content, filename=name, content_type="application/jsonl")
        return await self._ask("POST", url, data=form)

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """Yield the lines of a file as they arrive."""
        rest = b""
        async for piece in self._pieces(url):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line
            if len(rest) > LONGEST_LINE:
                raise ModelFailed("bad_reply", f"{self._place(url)} sent a line without an end")
        if rest:
            yield rest

    async def _pieces(self, url: str) -> AsyncIterator[bytes]:
        session = self._opened()
        try:
            async with session.get(url, headers=self._headers, allow_redirects=True) as answer:
                if answer.status >= _FIRST_ERROR:
                    await self._read(url, answer)
                async for piece in answer.content.iter_any():
                    yield piece
        except _lost() as error:
            raise self._failure(url, error) from None

    async def _ask(self, method: str, url: str, **sent: Any) -> Any:
        headers = {**self._headers, **sent.pop("headers", {})}
        try:
            async with self._opened().request(
                method, url, headers=headers, allow_redirects=False, **sent
            ) as answer:
                return await self._read(url, answer)
        except _lost() as error:
            raise self._failure(url, error) from None

    async def _read(self, url: str, answer: aiohttp.ClientResponse) -> Any:
        try:
            body = await read_body(answer.content, _LARGEST)
        except TooLarge:
            raise ModelFailed("bad_reply", f"{self._place(url)} answered with too much") from None
        response = Response(answer.status, dict(answer.headers), body)
        return Server(self._lane, host_port(url), self._secret).read(response, _same)

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - slow to import

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SECONDS)
            self._session = aiohttp.ClientSession(
                timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _failure(self, url: str, error: Exception) -> ModelFailed:
        kind = "timeout" if isinstance(error, TimeoutError) else "unreachable"
        words = f"{self._place(url)} can't be reached ({type(error).__name__})"
        return ModelFailed(kind, f"{words}. Is the server up?")  # type: ignore[arg-type]

    def _place(self, url: str) -> str:
        return f"{self._lane}: {host_port(url)}"


_JSON = "application/json"
_FIRST_ERROR = 400


def _same(value: Any) -> Any:
    """Return a JSON object as it is. ``ValueError`` for anything else."""
    if not isinstance(value, Mapping):
        msg = f"expected an object, found {type(value).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - what `Server.read` takes for an unknown shape
    return value


def _lost() -> tuple[type[Exception], ...]:
    """Return the exceptions that aiohttp raises if no whole answer arrives."""
    import aiohttp  # noqa: PLC0415 - slow to import

    return TimeoutError, aiohttp.ClientError, OSError


def _secret_in(headers: Mapping[str, str]) -> str:
    """Return the key in the headers of a live request, empty if there is none."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        if name in lower:
            return lower[name].removeprefix("Bearer ")
    return ""
