"""Command lines in tests: how they are run, and an endpoint on the loopback for those that ask a
model.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from lmflow.cli.main import main

APP = """
import lmflow as lf

def measure(text: str) -> int:
    return len(text)

size = lf.tool("size", "text -> size: int", measure)
broken = lf.tool("broken", "text -> n: int", lambda text: 1 // 0, version="1")
search = lf.tool("search", "query -> context: list[str]", lambda query: ["Two minutes."], version="1")
answer = lf.predict("answer", "context: list[str] = [], question -> answer", "Answer.")
rewrite = lf.predict("rewrite", "question -> query")
rag = rewrite >> search >> answer


def brief(example: object, outputs: lf.Record) -> bool:
    return len(outputs.answer) < 20
"""


# A process of its own, which heeds Ctrl-C also where whoever began the tests in the background has
# it ignored.
PROCESS = """
import signal
from lmflow.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def call(here: Path, line: str) -> Result:
    """Run a command line; ``app`` stands for the module in the folder."""
    words = [
        word.replace("app:", f"{(here / 'name').read_text('utf-8')}:") for word in shlex.split(line)
    ]
    return CliRunner().invoke(main, words)


def done(here: Path, line: str) -> Any:
    """What a command prints as JSON."""
    result = call(here, f"{line} --json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def commands(
    group: click.Command = main, path: str = "lmflow"
) -> Iterator[tuple[str, click.Command]]:
    """Every command, with its words."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}")


@contextlib.contextmanager
def endpoint(
    text: str | Callable[[], str] = "two minutes",
    *,
    status: int = 200,
    models: str = '{"data": [{"id": "gpt-5-mini"}]}',
    asked: Callable[[], object] = bool,
) -> Iterator[str]:
    """The base URL of a server that answers every chat with ``text``, or what it returns, and lists
    its models; ``status`` is the list's.

    ``asked`` is called before each chat is answered.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(status, models)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked()
            content = text() if callable(text) else text
            message = {"role": "assistant", "content": content}
            self._answer(
                200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
            )

        def _answer(self, code: int, body: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
