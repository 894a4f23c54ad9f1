"""Shuts the network: inside the block, any attempt to leave the process by a socket is an error."""

from __future__ import annotations

import socket
from typing import Any, Self

from lmflow.errors import NetworkShut


class NoNetwork:
    """A context manager in which no IP socket connects or sends and no host name is looked up.

    Unix sockets stay open: event loops and debuggers are built on them. ``tried`` lists the
    attempts, so that one whose error was swallowed is seen.

    Args:
        why: The reason that errors give.

    Example:
        >>> with NoNetwork("this test is offline") as network:
        ...     network.tried
        []
    """

    def __init__(self, why: str) -> None:
        self.tried: list[str] = []
        self._why = why
        self._originals: dict[tuple[Any, str], Any] = {}

    def __enter__(self) -> Self:
        """Shut the network."""
        for name in ("connect", "connect_ex", "sendto"):
            self._replace(socket.socket, name, self._refusing(getattr(socket.socket, name)))
        self._replace(socket, "getaddrinfo", self._refuse_lookup)
        return self

    def __exit__(self, *_: object) -> None:
        """Open the network again."""
        for (owner, name), original in self._originals.items():
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._originals.clear()

    def refusal(self, address: str) -> NetworkShut:
        """Record an attempt to reach an address.

        Args:
            address: The address as ``host:port``.

        Returns:
            The error to raise for the attempt.
        """
        self.tried.append(address)
        return NetworkShut(address, self._why)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._originals[owner, name] = vars(owner).get(name)
        setattr(owner, name, value)

    def _refusing(self, method: Any) -> Any:
        def checked(this: socket.socket, *args: Any) -> Any:
            if this.family in {socket.AF_INET, socket.AF_INET6}:
                raise self.refusal(_address_text(args[-1]))
            return method(this, *args)

        return checked

    def _refuse_lookup(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        raise self.refusal(_address_text((host, port)))


def _address_text(address: Any) -> str:
    host, port = address[:2] if isinstance(address, tuple) else (address, "")
    return f"{host.decode() if isinstance(host, bytes) else host}:{port}"
