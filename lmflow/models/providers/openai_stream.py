"""OpenAI's streams: the chunks of a completion accumulated into the body of a whole one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.models.providers.openai_chat import (
    CALL_STATE,
    arguments_text,
    content_text,
    refusal_text,
)
from lmflow.models.transport.json_pieces import JsonPieces

_JOINED_FIELDS = ("text", "summary", "data")


class ChunkAccumulator:
    """Accumulates the chunks of a streamed completion into the body of a whole one."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        # Pieces are joined once, in `body`: adding each to the text before is quadratic.
        self._texts: dict[str, list[str]] = {}
        self._details: dict[str, _Details] = {}
        self._calls: list[_StreamedCall] = []
        self._last_calls: dict[Any, _StreamedCall] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._envelope: dict[str, Any] = {}
        self._finish_reason: Any = None

    @property
    def finished(self) -> bool:
        """True once the model said why it stopped."""
        return self._finish_reason is not None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Takes a chunk and returns the text that it adds."""
        for name in ("model", "usage"):
            if chunk.get(name):
                self._envelope[name] = chunk[name]
        choices = chunk.get("choices")
        if not choices:
            return ""
        choice = choices[0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        for name, rows in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(rows or ())
        return self._add_delta(choice.get("delta") or {})

    def body(self) -> dict[str, Any]:
        """The completion as if it had not been streamed."""
        message = {
            **self._message,
            **{name: "".join(pieces) for name, pieces in self._texts.items()},
            **{name: details.body() for name, details in self._details.items()},
            "tool_calls": [call.body() for call in self._calls],
        }
        choice = {
            "message": message,
            "finish_reason": self._finish_reason,
            "logprobs": self._logprobs or None,
        }
        return {**self._envelope, "choices": [choice]}

    def _add_delta(self, delta: Mapping[str, Any]) -> str:
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if delta.get(name):
                self._texts.setdefault(name, []).append(content_text(delta[name]))
        if refusal := refusal_text(delta.get("content")):
            self._texts.setdefault("refusal", []).append(refusal)
        for name in ("extra_content", "provider_specific_fields"):
            if delta.get(name):
                self._message.setdefault(name, {}).update(**delta[name])
        for name in ("reasoning_details", "thinking_blocks"):
            for part in delta.get(name) or ():
                self._details.setdefault(name, _Details()).add(part)
        parts = delta.get("tool_calls") or ()
        if delta.get("function_call"):
            parts = [{"index": 0, "function": delta["function_call"]}]
        for part in parts:
            self._call_for(part).add(part)
        return content_text(delta.get("content"))

    def _call_for(self, part: Mapping[str, Any]) -> _StreamedCall:
        """The call that a part continues, or a new one."""
        index = part.get("index")
        place = _hashable(index)
        last = self._last_calls.get(place)
        if index is None:
            last = self._calls[-1] if self._calls else None
        if last is not None and last.continues(part, indexed=index is not None):
            return last
        call = self._last_calls[place] = _StreamedCall()
        self._calls.append(call)
        return call


@attrs.define(eq=False)
class _StreamedCall:
    """A tool call whose parts have arrived so far."""

    id: str = ""
    name: str = ""
    arguments: JsonPieces = attrs.field(factory=JsonPieces)
    state: dict[str, Any] = attrs.field(factory=dict)

    def continues(self, part: Mapping[str, Any], *, indexed: bool) -> bool:
        """Says whether a part belongs to this call.

        Servers repeat the id and the name with every part, or give several calls one index, so
        neither alone tells a new call: another id does, or a name after whole arguments.
        """
        function = part.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        identifier = part.get("id") or ""
        if identifier and self.id:
            if identifier != self.id:
                return indexed and self._goes_on(name, arguments)
            return indexed or not (name and self.arguments.is_object and arguments)
        if not indexed:
            return not name and not identifier
        if not name or not self.name:
            return True
        if name == self.name or name.startswith(self.name):
            return not (self.arguments.is_object and arguments)
        return not self.arguments

    def _goes_on(self, name: str, arguments: Any) -> bool:
        """True if a part with another id continues the arguments: some servers make up an id for
        each part.
        """
        if name not in {"", self.name} or not isinstance(arguments, str):
            return False
        is_begun = self.arguments.is_begun and not self.arguments.is_object
        return is_begun and not arguments.lstrip().startswith("{")

    def add(self, part: Mapping[str, Any]) -> None:
        """Adds a part of the call."""
        function = part.get("function") or {}
        self.id = self.id or part.get("id") or ""
        name = function.get("name") or ""
        if name.startswith(self.name):  # the name again, or as much of it as has come by now
            self.name = name
        elif name != self.name:
            self.name += name
        arguments = arguments_text(function.get("arguments") or "")
        if not (self.arguments.is_object and self.arguments.equals(arguments)):
            self.arguments.add(arguments)
        for field in CALL_STATE:
            if part.get(field):
                self.state[field] = part[field]

    def body(self) -> dict[str, Any]:
        """The call as if it had not been streamed."""
        return {"function": {"name": self.name, "arguments": self.arguments.text}, **self.state}


class _Details:
    """A list of details, whose pieces of one index are one detail."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._indexed: dict[Any, dict[str, Any]] = {}
        self._pieces: dict[Any, dict[str, list[str]]] = {}

    def add(self, part: Any) -> None:
        """Adds a piece."""
        index = part.get("index") if isinstance(part, dict) else None
        place = _hashable(index)
        earlier = None if index is None else self._indexed.get(place)
        if earlier is not None:
            self._join(earlier, self._pieces[place], part)
            return
        detail = dict(part) if isinstance(part, dict) else part
        self._parts.append(detail)
        if index is not None:
            self._indexed[place], self._pieces[place] = detail, {}

    def body(self) -> list[Any]:
        """The details as if they had not been streamed."""
        for place, joined in self._pieces.items():
            for name, pieces in joined.items():
                self._indexed[place][name] = "".join(pieces)
        return self._parts

    @staticmethod
    def _join(
        earlier: dict[str, Any], joined: dict[str, list[str]], part: Mapping[str, Any]
    ) -> None:
        for name, value in part.items():
            if name not in _JOINED_FIELDS or not isinstance(earlier.get(name), str):
                earlier[name] = value
            elif value:
                joined.setdefault(name, [earlier[name]]).append(value)


def _hashable(index: Any) -> Any:
    """An index, as a text if a server sends what no dictionary has as a key."""
    return repr(index) if isinstance(index, (dict, list)) else index
