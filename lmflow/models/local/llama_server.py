"""A server of llama.cpp in a child process, which ends with its parent."""

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from lmflow.errors import ModelUnavailable

_COMMAND = (sys.executable, "-P", "-m", "lmflow.models.local.llama_process")
# Threads that wait by spinning stall a busy machine.
_PASSIVE_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
_TAIL_BYTES, _TAIL_LINES = 4000, 5
_LOG_SECONDS = 5.0


class LlamaServer:
    """Serves one ``.gguf`` file on 127.0.0.1 at a free port, to clients that have ``api_key``.

    The server answers ``slots`` requests at once, each with ``context`` tokens, by ``threads``
    threads (llama.cpp's choice by default). A request chooses among the ``adapters`` by their
    positions; by default none is applied. The child process ends at ``stop()``, or when this
    process ends, however it does; Ctrl-C alone doesn't end the child.
    """

    def __init__(  # noqa: PLR0913 - the choices of a server
        self,
        path: Path,
        *,
        slots: int = 4,
        context: int = 4096,
        threads: int | None = None,
        embedding: bool = False,
        adapters: Sequence[Path] = (),
    ) -> None:
        self.path = path
        self.api_key = secrets.token_urlsafe(24)
        self._settings = {
            "slots": slots,
            "context": context,
            "threads": threads,
            "embedding": embedding,
            "adapters": [str(adapter) for adapter in adapters],
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._starting: asyncio.Task[str] | None = None
        self._url = ""
        self._finalize: Callable[[], object] = _no_process

    async def start(self) -> str:
        """Starts the server unless it runs, and returns its base URL (``http://127.0.0.1:PORT/v1``)
        once the model is loaded.

        ``ModelUnavailable`` if the extra ``local`` or a system library is missing, or if llama.cpp
        can't load the file; the next call tries again.
        """
        if self._url and self._process and self._process.poll() is None:
            return self._url
        # All callers wait for one task: loading takes seconds and gigabytes. The shield lets a
        # caller be cancelled without ending the load that the others still wait for.
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._launch())
            self._starting.add_done_callback(_retrieve_failure)
        return await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """Ends the process if one runs. Callers that wait for ``start()`` get
        ``ModelUnavailable``.
        """
        if self._process:
            self._process.kill()  # the process has nothing to save
        if self._starting and not self._starting.done():
            await asyncio.wait([self._starting])
        self._end()

    def stop_now(self) -> None:
        """Ends the process, for callers without an event loop."""
        self._end()

    async def _launch(self) -> str:
        self._end()
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
            self._process = _spawn(self._log)
            self._finalize = weakref.finalize(self, _kill, self._process, self._log, os.getpid())
            settings = {**self._settings, **self._identity()}
            answer = await asyncio.to_thread(_request_start, self._process, settings)
            self._url = f"http://127.0.0.1:{self._port(answer)}/v1"
        except BaseException:
            self._end()
            raise
        return self._url

    def _identity(self) -> dict[str, str]:
        return {"path": str(self.path), "alias": self.path.stem, "api_key": self.api_key}

    def _port(self, answer: dict[str, Any]) -> int:
        """The port in the child's answer; ``ModelUnavailable`` if the child reports a problem or
        ended without an answer.
        """
        if "port" in answer:
            return int(answer["port"])
        model, text = self.path.name, str(answer.get("text", ""))
        if answer.get("problem") == "import":
            raise _not_importable(model, text)
        if not answer and self._process:
            text = f"the server process ended before it served (exit code {self._process.wait()})"
        fix = (
            "Check that the file is a whole GGUF model, and that there is memory for its slots "
            "and their context."
        )
        raise ModelUnavailable(
            model, f"llama.cpp can't serve it: {text.rstrip('.')}", fix + _tail(self._log)
        )

    def _end(self) -> None:
        self._finalize()
        self._process, self._log, self._url = None, None, ""


def _retrieve_failure(starting: asyncio.Task[str]) -> None:
    """Retrieves the failure of a start: else asyncio warns if no caller waits any more."""
    if not starting.cancelled():
        starting.exception()


def _no_process() -> None:
    """Ends nothing: no process runs."""


def _kill(process: subprocess.Popen[bytes], log: IO[bytes], owner: int) -> None:
    """Ends the process and closes its files."""
    # A finalizer runs in forks of this process too, at their exit: the server is the owner's.
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for file in (process.stdin, process.stdout, log):
        if file:
            with contextlib.suppress(BrokenPipeError):
                file.close()


def _spawn(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts the child process."""
    # On the event loop's thread, not on a worker: PR_SET_PDEATHSIG ends the child when the thread
    # that started it ends.
    return subprocess.Popen(  # noqa: S603 - this interpreter, this package
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **_PASSIVE_THREADS},
        start_new_session=True,
    )


def _request_start(process: subprocess.Popen[bytes], settings: dict[str, Any]) -> dict[str, Any]:
    """Sends the settings to the child, and returns its answer, empty if it ended without one."""
    if process.stdin is None or process.stdout is None:
        return {}
    with contextlib.suppress(BrokenPipeError):  # the empty answer says that the child ended
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {}
    if "port" not in answer:
        # llama.cpp writes its log from a thread: the log is whole once the process ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOG_SECONDS)
    return answer


def _not_importable(model: str, text: str) -> ModelUnavailable:
    if "libgomp.so.1" in text:
        fix = "Run: apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora)"
        return ModelUnavailable(model, "the system library libgomp.so.1 is missing", fix)
    return ModelUnavailable(
        model, f"llama.cpp can't be imported: {text}", 'Run: pip install "lmflow-dsl[local]"'
    )


def _tail(log: IO[bytes] | None) -> str:
    """The last lines of the log below a heading, empty without a log."""
    if log is None:
        return ""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL_BYTES))
    lines = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    return "\n  ".join([" Its log ends:", *lines]) if lines else ""
