"""The network shut for a while: whatever is about to leave this process by a socket is an error."""

from __future__ import annotations

import socket
from typing import Any, Self

from lmflow.errors import NetworkShut


class NoNetwork:
    """While it is entered no socket connects or sends to another host, or this one, and no name is
    looked up.

    Unix sockets stay open: event loops and debuggers are built on them. ``tried`` lists what was
    attempted, also where the error was swallowed.
    """

    def __init__(self, why: str) -> None:
        self.tried: list[str] = []
        self._why = why
        self._before: dict[tuple[Any, str], Any] = {}

    def __enter__(self) -> Self:
        """Shut it."""
        for name in ("connect", "connect_ex", "sendto"):
            self._put(socket.socket, name, self._checked(getattr(socket.socket, name)))
        self._put(socket, "getaddrinfo", self._looked_up)
        return self

    def __exit__(self, *_: object) -> None:
        """Open it again."""
        for (owner, name), before in self._before.items():
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._before.clear()

    def refusal(self, where: str) -> NetworkShut:
        """The error for an attempt, which is remembered."""
        self.tried.append(where)
        return NetworkShut(where, self._why)

    def _put(self, owner: Any, name: str, value: Any) -> None:
        self._before[owner, name] = vars(owner).get(name)
        setattr(owner, name, value)

    def _checked(self, send: Any) -> Any:
        def checked(this: socket.socket, *args: Any) -> Any:
            if this.family in {socket.AF_INET, socket.AF_INET6}:
                raise self.refusal(_said(args[-1]))
            return send(this, *args)

        return checked

    def _looked_up(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        raise self.refusal(_said((host, port)))


def _said(address: Any) -> str:
    host, port = address[:2] if isinstance(address, tuple) else (address, "")
    return f"{host.decode() if isinstance(host, bytes) else host}:{port}"
