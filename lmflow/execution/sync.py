"""Running a program without ``await``: in scripts, in notebooks, inside a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from lmflow.execution.executor import Executor
from lmflow.models.base import Model
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.traces.store import Recorder
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version


def run(
    program: Program | Pending,
    version: Version | str | None = None,
    /,
    *,
    model: str | Model | None = None,
    store: Recorder | None = None,
    **inputs: Any,
) -> Trace:
    """Run a program once and return its trace: ``lf.run(answer, question="why?",
    model="local/smollm2-135m")``.

    Blocks until it is done; inside a running loop (a notebook) it works in a thread with a loop of
    its own. Ctrl-C stops the run, which is recorded as stopped. Inputs that are called ``model`` or
    ``store`` are given to the program, ``lf.run(program(model="T"), model=...)``. Raises what the
    program raises.
    """

    async def go() -> Trace:
        async with Executor(model, store) as ex:
            return await ex.run(program, version, **inputs)

    return finished(go)


def finished(go: Callable[[], Coroutine[Any, Any, Trace]]) -> Trace:
    """The trace that a coroutine function comes to, as ``run`` waits for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(go())
    return _aside(go)


def _aside(go: Callable[[], Coroutine[Any, Any, Trace]]) -> Trace:
    """The result of a coroutine that runs in a thread of its own; what interrupts the wait stops it
    first.
    """
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    ended: list[Trace | BaseException] = []
    stopped = threading.Event()

    async def watched() -> Trace:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs as one
        begun.append((task.get_loop(), task))
        if stopped.is_set():
            raise asyncio.CancelledError
        return await go()

    def work() -> None:
        try:
            ended.append(asyncio.run(watched()))
        except BaseException as error:  # noqa: BLE001 - raised below, where it is waited for
            ended.append(error)

    thread = threading.Thread(target=work, name="lmflow-run", daemon=True)
    thread.start()
    try:
        _join(thread)
    except BaseException:
        stopped.set()
        with contextlib.suppress(RuntimeError):  # it has just ended by itself
            for loop, task in begun:
                loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def _join(thread: threading.Thread) -> None:
    """Wait for a thread. ``CancelledError`` where the task that waits is cancelled: so Ctrl-C
    reaches a loop's task.
    """
    outer = asyncio.current_task()
    before = outer.cancelling() if outer is not None else 0
    while thread.is_alive():
        thread.join(0.05)
        if outer is not None and outer.cancelling() > before:
            raise asyncio.CancelledError
