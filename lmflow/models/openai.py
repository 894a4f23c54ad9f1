"""OpenAI-compatible chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from lmflow.errors import ModelFailed
from lmflow.messages import ChatReply, ChatRequest, Usage
from lmflow.models.base import Http, Response, Send

OPENAI = "https://api.openai.com/v1"
_KINDS = {401: "auth", 403: "auth", 404: "unknown_model", 408: "timeout", 429: "rate_limit"}
_FIXES = {
    "auth": "Check the key: api_key=... or OPENAI_API_KEY.",
    "unknown_model": "Check the model's name and the base URL (it ends in /v1).",
    "rate_limit": "Lower the executor's concurrency, or wait.",
}


@attrs.frozen(eq=False)
class OpenAI:
    """A model behind an OpenAI-compatible endpoint (``POST base_url/chat/completions``).

    ``wire`` is the model's name as the server knows it, ``timeout`` the seconds for one attempt. The key is masked by
    value in whatever the server answers.
    """

    name: str
    wire: str
    base_url: str
    endpoint: str
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0

    async def __call__(self, request: ChatRequest, send: Send) -> ChatReply:
        """The first choice's text. ``ModelFailed`` says what kind of failure it was and what mends it."""
        body = {
            "model": self.wire,
            "messages": [attrs.asdict(message) for message in request.messages],
            **request.options,
        }
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

        async def exchange(http: Http) -> ChatReply:
            url = f"{self.base_url.rstrip('/')}/chat/completions"
            return self._read(await http.post(url, headers, body, self.timeout))

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do: the session is the executor's."""

    def _read(self, response: Response) -> ChatReply:
        text = self._masked(response.body.decode("utf-8", "replace"))
        data = _json(text)
        if response.status >= 400:  # noqa: PLR2004 - HTTP's border between success and error
            raise self._failed(response, _message(data, text))
        try:
            return _reply(data)
        except (KeyError, IndexError, TypeError) as problem:
            kind = "no JSON" if data is None else f"no chat completion ({type(problem).__name__}: {problem})"
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

    def _masked(self, text: str) -> str:
        return text.replace(self.api_key, "***") if self.api_key else text


def host_of(base_url: str) -> str:
    """The host of an endpoint without port and credentials."""
    return urlsplit(base_url).hostname or base_url


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _reply(data: Mapping[str, Any]) -> ChatReply:
    choice = data["choices"][0]
    return ChatReply(
        text=_clean(choice["message"].get("content") or ""),
        finish=str(choice.get("finish_reason") or ""),
        model=str(data.get("model") or ""),
        usage=_usage(data.get("usage") or {}),
    )


def _usage(data: Mapping[str, Any]) -> Usage:
    cached = (data.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(data.get("prompt_tokens"), data.get("completion_tokens"), cached)


def _clean(text: Any) -> str:
    return str(text).encode("utf-8", "replace").decode("utf-8")


def _message(data: Any, text: str) -> str:
    error = data.get("error", data) if isinstance(data, Mapping) else None
    words = error.get("message") if isinstance(error, Mapping) else error
    return str(words or text.strip() or "nothing")[:300].rstrip(".")


def _seconds(header: str) -> float | None:
    return float(header) if header.replace(".", "", 1).isdigit() else None
