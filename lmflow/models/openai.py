"""OpenAI-compatible chat completions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from lmflow.errors import ModelFailed
from lmflow.messages import ChatReply, EmbedReply, EmbedRequest, ModelReply, ModelRequest, Usage
from lmflow.models.base import Http, Response, Send

OPENAI = "https://api.openai.com/v1"
SECRET = 8
_KINDS = {401: "auth", 403: "auth", 404: "unknown_model", 408: "timeout", 429: "rate_limit"}
_FIXES = {
    "auth": "Check the key: api_key=... or OPENAI_API_KEY.",
    "unknown_model": "Check the model's name and the base URL (it ends in /v1).",
    "rate_limit": "Lower the executor's concurrency, or wait.",
}


@attrs.frozen(eq=False)
class OpenAI:
    """A model behind an OpenAI-compatible endpoint (``POST base_url/chat/completions`` and ``base_url/embeddings``).

    ``wire`` is the model's name as the server knows it, ``timeout`` the seconds for one attempt. The key is masked by
    value in whatever the server answers.
    """

    name: str
    wire: str
    base_url: str = attrs.field(repr=lambda url: urlsplit(url).hostname or "")
    endpoint: str
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first choice's text, or a vector a text. ``ModelFailed`` says what kind of failure it was and what mends
        it.
        """
        path, read = "chat/completions", _reply
        if isinstance(request, EmbedRequest):
            body: dict[str, Any] = {"model": self.wire, "input": request.texts}
            path, read = "embeddings", partial(_vectors, len(request.texts))
        else:
            turns = [{"role": message.role, "content": message.content} for message in request.messages]
            body = {**request.options, "model": self.wire, "messages": turns}
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

        async def exchange(http: Http) -> ModelReply:
            url = f"{self.base_url.rstrip('/')}/{path}"
            return self._read(await http.post(url, headers, body, self.timeout), read)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do: the session is the executor's."""

    def _read(self, response: Response, read: Callable[[Any], ModelReply]) -> ModelReply:
        text = response.body.decode("utf-8", "replace")
        data = _masked(_json(text), self.api_key)
        text = _masked(text, self.api_key)
        if response.status >= 400:  # noqa: PLR2004 - HTTP's border between success and error
            raise self._failed(response, _message(data, text))
        try:
            return read(data)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as problem:
            kind = (
                "no JSON"
                if data is None
                else f"no reply of the form that it must have ({type(problem).__name__}: {problem})"
            )
            found = f"{self._host()} answered {response.status} with {kind}: {text[:200]!r}"
            words = f"{self.name}: {found}. Is its base URL right?"
            raise ModelFailed("bad_reply", words, response.status) from None

    def _failed(self, response: Response, words: str) -> ModelFailed:
        kind = _KINDS.get(response.status, "server" if response.status >= 500 else "request")  # noqa: PLR2004
        text = f"{self.name}: {self._host()} answered {response.status}: {words}. {_FIXES.get(kind, '')}".strip()
        return ModelFailed(kind, text, response.status, _seconds(response.headers.get("Retry-After", "")))

    def _host(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def mistake(base_url: str) -> str:
    """What is wrong with a base URL, empty where nothing is. It shows neither user nor password."""
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - it is read, and checked, here
    except ValueError as problem:
        return f"its base URL is none ({problem})"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{parts.scheme or 'nothing'}:// is no base URL"
    return "its base URL holds a user or password" if parts.username or parts.password else ""


def host_of(base_url: str) -> str:
    """The host of an endpoint without port and credentials."""
    return urlsplit(base_url).hostname or base_url


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _masked(data: Any, key: str) -> Any:
    """The JSON value without the key; one of fewer than 8 characters is a placeholder, and no secret."""
    if len(key) < SECRET:
        return data
    if isinstance(data, str):
        return data.replace(key, "***")
    if isinstance(data, list):
        return [_masked(item, key) for item in data]
    if isinstance(data, dict):
        return {_masked(name, key): _masked(value, key) for name, value in data.items()}
    return data


def _vectors(count: int, data: Mapping[str, Any]) -> EmbedReply:
    rows = sorted(data["data"], key=lambda row: int(row["index"]))
    vectors = tuple(tuple(float(number) for number in row["embedding"]) for row in rows)
    if len(vectors) != count or len({len(vector) for vector in vectors}) > 1:
        msg = f"{count} texts gave {len(vectors)} vectors of {sorted({len(vector) for vector in vectors})} numbers"
        raise ValueError(msg)
    return EmbedReply(vectors, str(data.get("model") or ""), _usage(data.get("usage") or {}))


def _reply(data: Mapping[str, Any]) -> ChatReply:
    choice = data["choices"][0]
    return ChatReply(
        text=_clean(choice["message"].get("content") or ""),
        finish=str(choice.get("finish_reason") or ""),
        model=str(data.get("model") or ""),
        usage=_usage(data.get("usage") or {}),
    )


def _usage(data: Mapping[str, Any]) -> Usage:
    details = data.get("prompt_tokens_details") or {}
    return Usage(
        *(_count(n) for n in (data.get("prompt_tokens"), data.get("completion_tokens"), details.get("cached_tokens")))
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _clean(content: Any) -> str:
    parts = [str(part.get("text") or "") for part in content] if isinstance(content, list) else [str(content)]
    return "".join(parts).encode("utf-8", "replace").decode("utf-8")


def _message(data: Any, text: str) -> str:
    error = data.get("error", data) if isinstance(data, Mapping) else None
    words = error.get("message") if isinstance(error, Mapping) else error
    return str(words or text.strip() or "nothing")[:300].rstrip(".")


def _seconds(header: str) -> float | None:
    return float(header) if header.isascii() and header.replace(".", "", 1).isdigit() else None
