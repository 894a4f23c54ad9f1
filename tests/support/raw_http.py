"""An HTTP server on the loopback that writes bytes from a script, right or wrong, and keeps the
requests as they arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from ssl import SSLContext

End = Literal["keep", "close", "reset"]


@attrs.frozen
class Answer:
    """The pieces of one answer, with pauses in seconds between them, and what happens then.

    ``early`` answers once the head of a request has arrived, and reads no more.
    """

    pieces: Sequence[bytes | float]
    end: End = "keep"
    early: bool = False


@attrs.define
class RawServer:
    """What is answered, in order, the last for ever; the requests; the number of connections."""

    answers: Sequence[Answer]
    port: int = 0
    scheme: str = "http"
    heads: list[bytes] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    connections: int = 0
    answered: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The URL of a POST."""
        return f"{self.scheme}://localhost:{self.port}/v1/chat"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone, or was sent away
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        answer = self.answers[min(len(self.heads), len(self.answers)) - 1]
        if not answer.early:
            self.bodies.append(await reader.readexactly(_length(head)))
        for piece in answer.pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
                self.answered.set()
            else:
                await asyncio.sleep(piece)
        if answer.end == "reset":
            linger = struct.pack("ii", 1, 0)  # closing then sends RST
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
        if answer.early:
            await asyncio.sleep(30)
        return answer.end == "keep"


@contextlib.asynccontextmanager
async def raw_server(*answers: Answer, tls: SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve the answers while the block lasts."""
    found = RawServer(answers, scheme="https" if tls else "http")
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        # A task that is cancelled while the server closes must not end as an error.
        with contextlib.suppress(asyncio.CancelledError):
            await found.talk(reader, writer)

    server = await asyncio.start_server(talk, "localhost", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def plain(body: bytes, status: str = "200 OK", *headers: bytes) -> bytes:
    """An answer with a length."""
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    found = next(line for line in lines if line.startswith(b"content-length:"))
    return int(found.partition(b":")[2])
