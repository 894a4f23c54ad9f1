"""Listings of MCP servers with tools that the protocol's types refuse."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

_METHOD, _VERSION = "tools/list", "2025-11-25"  # the last version with a schema's form prescribed


@contextlib.asynccontextmanager
async def lenient_transport(transport: Any, refused: list[Any]) -> AsyncIterator[Any]:
    """Open a client's transport, and take from listings the tools that the protocol refuses.

    They are added to ``refused``, as the server wrote them.
    """
    async with transport as (messages, *rest):
        yield (_ListingFilter(messages, refused), *rest)


# The client validates a listing as a whole, so one tool without `"type": "object"` in its schema
# would cost the server all its tools. Such entries are taken out before it sees them.
class _ListingFilter:
    """The stream of a server's messages, without the tools that the client would refuse."""

    def __init__(self, messages: Any, refused: list[Any]) -> None:
        self._messages, self._refused = messages, refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._messages, name)

    async def __aenter__(self) -> Self:
        await self._messages.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._messages.__aexit__(*error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._filtered(await self._messages.__anext__())

    async def receive(self) -> Any:
        """Return the next message."""
        return self._filtered(await self._messages.receive())

    def _filtered(self, item: Any) -> Any:
        result = getattr(getattr(item, "message", None), "result", None)
        if isinstance(result, dict) and isinstance(result.get("tools"), list):
            valid: list[Any] = []
            for entry in result["tools"]:
                (valid if _is_valid(entry) else self._refused).append(entry)
            result["tools"] = valid
        return item


def _is_valid(entry: Any) -> bool:
    from mcp_types.methods import validate_server_result  # noqa: PLC0415 - an extra

    try:
        validate_server_result(_METHOD, _VERSION, {"tools": [entry]})
    except ValueError:
        return False
    return True
