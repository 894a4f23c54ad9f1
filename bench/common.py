"""What the benches share: a mock server and client processes, medians with their spread, one table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# One answer in the two forms in which the two libraries ask for it; both are read without a second
# call.
TEXTS = {
    "/bare": "Two minutes.",
    "/lmflow": "Two minutes.",
    "/dspy": "[[ ## answer ## ]]\nTwo minutes.\n\n[[ ## completed ## ]]",
}

ECHO = "/echo"  # there the answer is the last word of what is asked


class Child:
    """A process that answers one JSON line with another."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to a question. ``RuntimeError`` where the process has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.line()

    def line(self) -> dict[str, Any]:
        """The next line that it writes."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(
                f"{' '.join(map(str, self._process.args))} ended with {self._process.wait()}"
            )  # type: ignore[union-attr]
        answer: dict[str, Any] = json.loads(text)
        return answer

    @property
    def cpu(self) -> float:
        """The seconds of CPU that it has used, where the system tells; else nothing."""
        try:
            fields = (
                Path(f"/proc/{self._process.pid}/stat")
                .read_text(encoding="ascii")
                .rpartition(")")[2]
                .split()
            )
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self._process.terminate()
        return self._process.wait(30)

    def close(self) -> None:
        """End it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def child(*command: str) -> Iterator[Child]:
    """A process while the block lasts."""
    started = Child(*command)
    try:
        yield started
    finally:
        started.close()


@contextlib.contextmanager
def mock_server() -> Iterator[str]:
    """The address of a server of chat completions, in a process of its own on the loopback. Under
    ``/NAME@50/v1`` it waits 50 ms before it answers as it does under ``/NAME/v1``.
    """
    with child(sys.executable, str(HERE / "common.py"), "serve") as server:
        yield f"http://127.0.0.1:{server.line()['port']}"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and the least and the greatest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The ratio of each round's pair: the median, the least and the greatest."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)], 2)


def table(rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Rows as aligned columns; the first row is the head."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    flush = set(right)
    return "\n".join(
        "  ".join(
            c.rjust(w) if i in flush else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


class _Mock(asyncio.Protocol):
    """Answers each HTTP/1.1 POST with a chat completion; no more of HTTP than the clients need."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            whole = end + 4 + int(fields.get("content-length", "0"))
            if len(self._data) < whole:
                return
            body, self._data = self._data[end + 4 : whole], self._data[whole:]
            name, _, delay = head.split(" ", 2)[1].split("/")[1].partition("@")
            answer = _answer(_last_word(body)) if f"/{name}" == ECHO else _ANSWERS[f"/{name}"]
            self._write(answer, int(delay or 0) / 1000)

    def _write(self, answer: bytes, seconds: float) -> None:
        assert self._transport is not None
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _last_word(body: bytes) -> str:
    return str(json.loads(body)["messages"][-1]["content"].split()[-1])


def _answer(text: str) -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "mock",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 60, "completion_tokens": 4, "total_tokens": 64},
        }
    ).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_ANSWERS = {path: _answer(text) for path, text in TEXTS.items()}


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Mock, "127.0.0.1", 0, backlog=2048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes it


if __name__ == "__main__" and sys.argv[1:] == ["serve"]:
    asyncio.run(_serve())
