"""A model server that counts what it is sent, and kills its client at a chosen request.

``python killing_server.py FOLDER`` serves on a free port, which it prints. ``FOLDER/log`` gets a
line ``S CONTENT`` for each request, before it is answered. ``FOLDER/plan`` may hold ``POINT N``:
the client, whose id is in ``FOLDER/pid``, is killed at the N-th request from then on, before its
answer (``request``) or right after it (``reply``).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

FOLDER = Path(sys.argv[1])
LOG = os.open(FOLDER / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _point() -> str:
    """The point at which the client must die now; empty if it must not."""
    try:
        point, left = (FOLDER / "plan").read_text("utf-8").split()
    except (FileNotFoundError, ValueError):
        return ""
    (FOLDER / "plan").write_text(f"{point} {int(left) - 1}", "utf-8")
    return point if int(left) == 1 else ""


def _kill() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((FOLDER / "pid").read_text("utf-8")), signal.SIGKILL)


async def chat(request: web.Request) -> web.StreamResponse:
    """Count the request, then answer or kill."""
    body: Any = await request.json()
    content = " ".join(body["messages"][-1]["content"].split())
    os.write(LOG, f"S {content}\n".encode())
    point = _point()
    if point == "request":
        _kill()
    digest = hashlib.sha256(content.encode()).hexdigest()
    await asyncio.sleep(int(digest[:2], 16) / 20_000)
    choice = {"message": {"content": digest[:16]}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    response = web.json_response({"model": "m", "choices": [choice], "usage": usage})
    with contextlib.suppress(ConnectionError):  # of a client that was killed
        await response.prepare(request)
        await response.write_eof()
    if point == "reply":
        _kill()
    return response


async def main() -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - what the test waits for
    await asyncio.Event().wait()


asyncio.run(main())
