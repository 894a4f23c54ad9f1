"""The laws of the network shut: nothing leaves, what was tried is known, and afterwards all is as
before.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from lmflow.cli.testing.no_network import NoNetwork
from lmflow.errors import NetworkShut

PLACE = ("127.0.0.1", 9)


def _with(kind: int, act: Callable[[socket.socket], object]) -> Callable[[], None]:
    def attempt() -> None:
        with socket.socket(socket.AF_INET, kind) as it:
            act(it)

    return attempt


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: socket.create_connection(PLACE),
        _with(socket.SOCK_STREAM, lambda it: it.connect(PLACE)),
        _with(socket.SOCK_STREAM, lambda it: it.connect_ex(PLACE)),
        _with(socket.SOCK_DGRAM, lambda it: it.sendto(b"x", PLACE)),
        _with(socket.SOCK_DGRAM, lambda it: it.sendto(b"x", 0, PLACE)),
        lambda: socket.getaddrinfo(*PLACE),
    ],
)
def test_nothing_leaves(attempt: Callable[[], object]) -> None:
    """Every way out is an error that names where it led and why it is shut."""
    with (
        NoNetwork("a record answers") as shut,
        pytest.raises(NetworkShut, match=r"127\.0\.0\.1:9\. a record answers"),
    ):
        attempt()
    assert ["127.0.0.1:9"] == shut.tried


async def test_no_loop_connects() -> None:
    """A connection of an event loop is refused too, also by a name."""
    for host in ("127.0.0.1", "localhost"):
        with NoNetwork("x") as shut, pytest.raises(NetworkShut):
            await asyncio.open_connection(host, 9)
        assert [f"{host}:9"] == shut.tried


def test_sockets_within_the_machine_work() -> None:
    """A pair of sockets works, and an event loop that is made of one."""
    with NoNetwork("x") as shut:
        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"x")
            assert b"x" == other.recv(1)
        asyncio.run(asyncio.sleep(0))
    assert [] == shut.tried


def test_afterwards_all_is_as_before() -> None:
    """Leaving it puts everything back, also after an error."""
    before = (dict(vars(socket.socket)), dict(vars(socket)))
    with pytest.raises(ZeroDivisionError), NoNetwork("x"):
        raise ZeroDivisionError
    assert before == (dict(vars(socket.socket)), dict(vars(socket)))
