"""What attackers of a server's connections do to an honest client: nothing that it notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

LMFLOW = str(Path(sys.executable).with_name("lmflow"))
APP = """
import lmflow as lf
echo = lf.tool("echo", "question -> answer", lambda question: question, version="1")
"""
FILES = 1024
"""Files that the server may have open."""

SLOW, IDLE = 250, 1500
BODY = b'{"question": "x"}'
HEAD = b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
RUN = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
SLOW_BODY = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)
HALF_HEAD = HEAD + b"X: "


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[int]:
    """A server in a process that may open few files; its port."""
    (folder / "sapp.py").write_text(APP, "utf-8")
    command = [LMFLOW, "serve", "sapp:echo", "--port", "0", "--json", "--store", "s.db"]
    limited = ["sh", "-c", f"ulimit -n {FILES}; exec {shlex.join(command)}"]
    with subprocess.Popen(limited, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(json.loads(process.stdout.readline())["address"].rpartition(":")[2])
        finally:
            process.terminate()
            process.communicate(timeout=60)


@contextlib.asynccontextmanager
async def _attack(port: int) -> AsyncIterator[None]:
    """Hold all of the attackers' connections, and send a byte of each slow body every second."""
    writers, is_full = list[asyncio.StreamWriter](), asyncio.Event()

    async def attacker(number: int) -> None:
        is_slow = number % ((SLOW + IDLE) // SLOW) == 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        if len(writers) == SLOW + IDLE:
            is_full.set()
        writer.write(SLOW_BODY if is_slow else HALF_HEAD)
        for byte in BODY[:-1] if is_slow else ():
            await asyncio.sleep(1)
            writer.write(bytes([byte]))
        await asyncio.sleep(600)

    tasks = [asyncio.create_task(attacker(number)) for number in range(SLOW + IDLE)]
    try:
        async with asyncio.timeout(60):
            await is_full.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()


async def _seconds(port: int) -> float:
    """The time of an honest request, which must be answered."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(RUN)
        answer = await reader.read()
    writer.close()
    assert b" 200 " in answer.partition(b"\r\n")[0], answer[:200]
    return time.monotonic() - began


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process hold both ends of its attack."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SLOW + IDLE + 200
    if before[0] < wanted:
        if 0 <= before[1] < wanted:
            pytest.skip(f"the system allows {before[1]} open files, and {wanted} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
async def test_slow_and_idle_clients_shut_nobody_out(
    rounds: Iterator[int], tmp_path: Path, tally: Counter[str]
) -> None:
    """Beside 250 bodies that come byte by byte and 1,500 clients that never end their headers, a
    server with 1,024 files answers each honest request.
    """
    with _server(tmp_path) as port:
        async with _attack(port):
            for _ in rounds:
                milliseconds = round(1000 * await _seconds(port))
                tally["honest requests beside 250 slow and 1,500 idle clients"] += 1
                worst = "ms that the slowest of these took"
                tally[worst] = max(tally[worst], milliseconds)
                await asyncio.sleep(0.1)
