"""Workers that share a run: how much faster eight are than one, and what SIGKILL costs.

python bench/workers.py [--workers 8] [--rows 320] [--latency 0.1] [--seconds 60] [--every 5]

A server on the loopback answers each chat after a fixed time, and counts. First one worker and then
several map so many rows a worker, each with one call open at once; the time is that from the first
call to the last. Then one of four workers is killed every few seconds while a map goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from aiohttp import web
from common import table

APP = """
import lmflow as lf
answer = lf.predict("answer", "question -> answer", "Answer briefly.")
"""
MAIN = [sys.executable, "-c", "from lmflow.cli.main import main; main()"]


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=5)
    parser.add_argument("--store", default="", help="A database instead of files.")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LATENCY"))
    options = parser.parse_args()
    if options.serve:
        _serve(int(options.serve[0]), float(options.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options)


def _measure(folder: Path, options: argparse.Namespace) -> None:
    (folder / "app.py").write_text(APP, "utf-8")
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), str(options.latency)]
    )
    try:
        _until_there(port)
        own = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "none"}
        world = {"folder": folder, "environment": os.environ | own, "port": port}
        _speed(world, options)
        _kills(world, options)
    finally:
        server.terminate()
        server.wait()


def _speed(world: dict[str, Any], options: argparse.Namespace) -> None:
    lines, first = [], 0.0
    for workers in (1, options.workers):
        _write_rows(world["folder"], options.rows * workers)
        _asked(world["port"], "reset")
        _mapped(world, f"speed{workers}", workers, options.store).communicate()
        asked = _asked(world["port"], "facts")
        rate = asked["calls"] / asked["seconds"]
        first = first or rate
        lines.append(
            [
                str(workers),
                str(asked["calls"]),
                f"{asked['seconds']:.1f}",
                f"{rate:.1f}",
                f"{rate / first:.2f}",
            ]
        )
    print(table([["workers", "calls", "seconds", "calls/s", "times as fast"], *lines]), flush=True)


def _kills(world: dict[str, Any], options: argparse.Namespace) -> None:
    rows = max(8, round(options.seconds / options.latency * 2))
    _write_rows(world["folder"], rows)
    whole = json.loads(_mapped(world, "whole", 0, options.store, "32").communicate()[0])
    _asked(world["port"], "reset")
    driver, kills = _mapped(world, "killed", 4, options.store), 0
    until = time.monotonic() + options.seconds
    while driver.poll() is None and time.monotonic() < until:
        time.sleep(options.every)
        kills += _kill_one(driver.pid)
    facts, asked = json.loads(driver.communicate()[0]), _asked(world["port"], "facts")
    same = "yes" if facts["root"] == whole["root"] else "NO"
    line = [str(rows), str(kills), str(asked["calls"]), str(rows + kills), same]
    print(table([["rows", "kills", "calls at the server", "rows + kills", "same root"], line]))


def _mapped(
    world: dict[str, Any], name: str, workers: int, store: str, concurrency: str = "1"
) -> subprocess.Popen[str]:
    place = f"{store}?schema={name}_{time.time_ns()}" if store else f"{name}.db"
    line = ["map", "app:answer", "rows.jsonl", "--out", f"{name}.jsonl", "--model", "openai/m"]
    line += ["--store", place, "--concurrency", concurrency, "--json"]
    line += ["--workers", str(workers), "--lease", "3"]
    return subprocess.Popen(
        [*MAIN, *line],
        cwd=world["folder"],
        env=world["environment"],
        stdout=subprocess.PIPE,
        text=True,
    )


def _kill_one(driver: int) -> int:
    """Kill a worker of a driver; return how many were killed."""
    children = Path(f"/proc/{driver}/task/{driver}/children")
    pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    if not pids:
        return 0
    os.kill(random.choice(pids), signal.SIGKILL)  # noqa: S311 - no secret
    return 1


def _write_rows(folder: Path, count: int) -> None:
    lines = (json.dumps({"question": f"How long, {n}?"}) for n in range(count))
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _until_there(port: int) -> None:
    for _ in range(100):
        try:
            _asked(port, "facts")
        except OSError:
            time.sleep(0.1)
        else:
            return


def _asked(port: int, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}") as reply:
        facts: dict[str, Any] = json.loads(reply.read())
    return facts


def _serve(port: int, latency: float) -> None:
    times: list[float] = []

    async def chat(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        asked = (await request.json())["messages"][-1]["content"]
        await asyncio.sleep(latency)
        times.append(time.monotonic())
        message = {"role": "assistant", "content": f"{len(asked)}"}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    calls = [0]

    async def counted(request: web.Request) -> web.Response:
        calls[0] += 1
        return await chat(request)

    async def facts(_: web.Request) -> web.Response:
        seconds = max(times) - min(times) if times else 0.0
        return web.json_response({"calls": calls[0], "seconds": seconds})

    async def reset(_: web.Request) -> web.Response:
        times.clear()
        calls[0] = 0
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", counted)
    app.router.add_get("/facts", facts)
    app.router.add_get("/reset", reset)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main()
