"""A server of llama.cpp in a child process: started at need, ended with whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from lmflow.errors import ModelUnavailable

_COMMAND = (sys.executable, "-P", "-m", "lmflow.models.local.llama_process")
_PASSIVE = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
}  # threads that wait by spinning stall a busy machine
_TAIL_BYTES, _TAIL_LINES = 4000, 5
_LAST_WORDS = 5.0


class LlamaServer:
    """One ``.gguf`` file, served on 127.0.0.1 at a free port, to whoever has ``api_key``.

    ``slots`` requests are served at once, each with ``context`` tokens, by ``threads`` threads
    (llama.cpp's choice by default). The process ends at ``stop()``, or when this process does,
    however that ends; Ctrl-C alone doesn't end it.
    """

    def __init__(
        self,
        path: Path,
        *,
        slots: int = 4,
        context: int = 4096,
        threads: int | None = None,
        embedding: bool = False,
    ) -> None:
        self.path = path
        self.api_key = secrets.token_urlsafe(24)
        self._wanted = {
            "slots": slots,
            "context": context,
            "threads": threads,
            "embedding": embedding,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._starting: asyncio.Task[str] | None = None
        self._url = ""
        self._finish: Callable[[], object] = _nothing

    async def start(self) -> str:
        """The base URL (``http://127.0.0.1:PORT/v1``), once the model is loaded. One that runs is
        not started again.

        A caller that is cancelled leaves the loading to the others. Raises ``ModelUnavailable``
        where the extra ``local`` or a system library is missing, or where llama.cpp can't load the
        file; the next call tries anew.
        """
        if self._url and self._process and self._process.poll() is None:
            return self._url
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._launched())
            self._starting.add_done_callback(_heard)
        return await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """End the process, if there is one. Whoever waits for ``start()`` gets
        ``ModelUnavailable``.
        """
        if self._process:
            self._process.kill()  # it has nothing to save
        if self._starting and not self._starting.done():
            await asyncio.wait([self._starting])
        self._end()

    def stop_now(self) -> None:
        """``stop`` for callers without an event loop."""
        self._end()

    async def _launched(self) -> str:
        self._end()
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
            self._process = _spawned(self._log)
            self._finish = weakref.finalize(self, _finished, self._process, self._log, os.getpid())
            answer = await asyncio.to_thread(
                _asked, self._process, {**self._wanted, **self._identity()}
            )
            self._url = f"http://127.0.0.1:{self._port(answer)}/v1"
        except BaseException:
            self._end()
            raise
        return self._url

    def _identity(self) -> dict[str, str]:
        return {"path": str(self.path), "alias": self.path.stem, "api_key": self.api_key}

    def _port(self, answer: dict[str, Any]) -> int:
        """The port in the child's answer; ``ModelUnavailable`` where it tells of a problem or ended
        without a word.
        """
        if "port" in answer:
            return int(answer["port"])
        model, text = self.path.name, str(answer.get("text", ""))
        if answer.get("problem") == "import":
            raise _not_importable(model, text)
        if not answer and self._process:
            text = f"the server process ended before it served (exit code {self._process.wait()})"
        fix = "Check that the file is a whole GGUF model, and that there is memory for its slots and their context."
        raise ModelUnavailable(
            model, f"llama.cpp can't serve it: {text.rstrip('.')}", fix + _tail(self._log)
        )

    def _end(self) -> None:
        self._finish()
        self._process, self._log, self._url = None, None, ""


def _heard(starting: asyncio.Task[str]) -> None:
    """A start that failed when nobody waited any more is nothing to warn of."""
    if not starting.cancelled():
        starting.exception()


def _nothing() -> None:
    """There is no process to end."""


def _finished(process: subprocess.Popen[bytes], log: IO[bytes], owner: int) -> None:
    """End the process and let go of it; also when its server is dropped, but never from a fork of
    its owner.
    """
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for file in (process.stdin, process.stdout, log):
        if file:
            with contextlib.suppress(BrokenPipeError):
                file.close()


def _spawned(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The child. From the loop's thread, not from a worker: Linux ends it when the thread that
    started it ends.
    """
    return subprocess.Popen(  # noqa: S603 - this interpreter, this package
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **_PASSIVE},
        start_new_session=True,
    )


def _asked(process: subprocess.Popen[bytes], wanted: dict[str, Any]) -> dict[str, Any]:
    """Tell the child what to serve; its answer, empty where it ended without one."""
    if process.stdin is None or process.stdout is None:
        return {}
    with contextlib.suppress(BrokenPipeError):  # it ended already, which the empty answer says
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {}
    if "port" not in answer:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(
                _LAST_WORDS
            )  # llama.cpp writes its log from a thread: it is whole once the process ended
    return answer


def _not_importable(model: str, text: str) -> ModelUnavailable:
    if "libgomp.so.1" in text:
        fix = "Run: apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora)"
        return ModelUnavailable(model, "the system library libgomp.so.1 is missing", fix)
    return ModelUnavailable(
        model, f"llama.cpp can't be imported: {text}", 'Run: pip install "lmflow-dsl[local]"'
    )


def _tail(log: IO[bytes] | None) -> str:
    """The last lines of the log below a heading, or nothing."""
    if log is None:
        return ""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL_BYTES))
    lines = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    return "\n  ".join([" Its log ends:", *lines]) if lines else ""
