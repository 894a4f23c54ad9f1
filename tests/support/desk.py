"""The place where a page's fences run: a folder, an event loop, a store, and a model that answers as the page says."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import attrs

import lmflow as lf
from lmflow.messages.messages import ToolCall

_WORD = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
_VARIABLES = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "LMFLOW_STORE", "COLUMNS", "CI", "FORCE_COLOR", "NO_COLOR",
    "PYTEST_ADDOPTS",
)  # fmt: skip
"""What a reader's shell hasn't, wherever the tests run."""


@attrs.define(eq=False)
class Desk:
    """What the fences of one page share."""

    namespace: dict[str, Any]
    folder: Path = attrs.field(factory=lambda: Path(tempfile.mkdtemp(prefix="page")).resolve())
    runner: asyncio.Runner = attrs.field(factory=asyncio.Runner)
    cwd: Path = attrs.field(default=attrs.Factory(lambda self: self.folder, takes_self=True))
    printed: str = ""
    stack: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack)
    url: str = ""
    ex: lf.Executor = attrs.field(init=False)

    @classmethod
    def of(cls, namespace: dict[str, Any]) -> Self:
        """The desk of a page, which is made for its first fence."""
        if "__desk__" not in namespace:
            desk = cls(namespace)
            store = lf.MemoryStore()
            ex = lf.Executor(lf.scripted(desk.answer), store)
            desk.ex = ex
            namespace.update(
                __desk__=desk, __name__="page", lf=lf, ex=ex, store=store, say="two minutes"
            )
            desk.runner.run(ex.__aenter__())
            desk.url = desk.stack.enter_context(_served(desk.answer))
        known: Self = namespace["__desk__"]
        return known

    @staticmethod
    def leave(namespace: dict[str, Any]) -> None:
        """Closes what a page opened, and removes its folder."""
        desk: Desk | None = namespace.get("__desk__")
        if desk is None:
            return
        with desk.stack, desk.runner:
            for value in list(namespace.values()):
                if isinstance(value, lf.Sync):
                    value.close()
            desk.runner.run(desk.ex.aclose())
            for value in list(namespace.values()):
                if isinstance(value, lf.SqliteStore | lf.Corpus):
                    value.close()
        desk.forget_modules()
        shutil.rmtree(desk.folder)

    def answer(self, request: Any) -> Any:
        """What the page's model says: that of the first key in the request, or what the function returns."""
        say = self.namespace["say"]
        if isinstance(say, Mapping):
            words = "\n".join(str(message.content) for message in request.messages)
            say = next((reply for key, reply in say.items() if key in words), "two minutes")
        if callable(say):
            return say(request)
        return say

    @contextlib.contextmanager
    def entered(self) -> Iterator[io.StringIO]:
        """Inside, the page's folder is where we are, and what is printed is kept."""
        before = {name: os.environ.pop(name, None) for name in _VARIABLES}
        os.environ.update(OPENAI_API_KEY="none", OPENAI_BASE_URL=self.url, COLUMNS="120")
        path = str(self.cwd)
        sys.path.insert(0, path)
        printed = io.StringIO()
        try:
            with contextlib.chdir(path), contextlib.redirect_stdout(printed):
                yield printed
        finally:
            with contextlib.suppress(ValueError):
                sys.path.remove(path)
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def meant(self, word: str) -> str:
        """A command's word with what its capital words stand for."""
        return _WORD.sub(lambda match: self._meaning(match[0]), word)

    def _meaning(self, word: str) -> str:
        value = self.namespace.get(word)
        if isinstance(value, str):
            return value
        if word not in {"RUN", "OTHER", "TRACE", "VERSION"} or not self._store.is_file():
            return word
        with lf.SqliteStore(self._store) as store:
            runs = [run.id for run in store.runs()]
            if word in {"RUN", "OTHER"}:
                return runs[int(word == "OTHER")]
            (trace, *_) = store.run(runs[0]).traces
        return {"TRACE": trace.id, "VERSION": trace.version.id}[word]

    @property
    def _store(self) -> Path:
        return self.cwd / "lmflow.db"

    def forget_modules(self) -> None:
        """Forgets the modules of the page's folder, which the page may write anew."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[name]


@contextlib.contextmanager
def _served(answer: Any) -> Iterator[str]:
    """The base URL of a server of OpenAI's chats that says what ``answer`` returns."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages = [SimpleNamespace(**message) for message in body["messages"]]
            reply = answer(SimpleNamespace(messages=messages, tools=body.get("tools", [])))
            text = reply if isinstance(reply, str) else reply.text
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if not isinstance(reply, str) and reply.calls:
                message["tool_calls"] = [_wire_call(call) for call in reply.calls]
            usage = {"prompt_tokens": len(str(messages)) // 4, "completion_tokens": len(text) // 4}
            self._send({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

        def do_GET(self) -> None:
            self._send({"data": [{"id": "MODEL"}]})

        def _send(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def _wire_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
