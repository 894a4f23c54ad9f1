"""Runs a program without ``await``: in scripts, in notebooks, inside a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Never

from lmflow.execution.executor import Executor
from lmflow.models.base import Model
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.traces.store import Recorder
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

_SECONDS_BETWEEN_LOOKS = 0.05


def run(
    program: Program | Pending,
    /,
    *extra: Never,
    version: Version | str | None = None,
    model: str | Model | None = None,
    store: Recorder | None = None,
    **inputs: Any,
) -> Trace:
    """Run a program once and return its trace.

    It blocks until the run is over. Inside a running loop (a notebook) the run gets a thread with a
    loop of its own. Ctrl-C stops the run, which is recorded as stopped.

    Args:
        program: The program, or a program that has its inputs already, ``step(x=1)``.
        *extra: Nothing; a version is given by keyword.
        version: A version, or the name of a ref or version in the store; the program's defaults if
            ``None``.
        model: A model or its name, ``provider/model``.
        store: The store that records the run; ``None`` records nothing.
        **inputs: The program's inputs. Inputs that are called ``model``, ``store`` or ``version``
            are given to the program itself: ``lf.run(program(model="T"), model=...)``.

    Returns:
        The trace; ``trace.outputs`` holds the outputs.

    Raises:
        Exception: What the program raised, after it is recorded.

    Example:
        >>> import lmflow as lf
        >>> answer = lf.predict("answer", "question -> reply")
        >>> trace = lf.run(answer, question="why?", model=lf.scripted(["because"]))
        >>> trace.outputs.reply
        'because'
    """

    async def go() -> Trace:
        async with Executor(model, store) as ex:
            return await ex.run(program, *extra, version=version, **inputs)

    return wait_for(go)


def wait_for(go: Callable[[], Coroutine[Any, Any, Trace]]) -> Trace:
    """Block until a coroutine function has come to its trace, also inside a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(go())
    return _run_in_thread(go)


# The thread is joined even on Ctrl-C: the run is cancelled first, and the wait goes on until it is
# recorded as stopped. A thread left behind would write to a store that its caller has closed.
def _run_in_thread(go: Callable[[], Coroutine[Any, Any, Trace]]) -> Trace:
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    results: list[Trace | BaseException] = []
    stopped = threading.Event()

    async def watched() -> Trace:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run makes one
        tasks.append((task.get_loop(), task))
        if stopped.is_set():
            raise asyncio.CancelledError
        return await go()

    def work() -> None:
        try:
            results.append(asyncio.run(watched()))
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            results.append(error)

    thread = threading.Thread(target=work, name="lmflow-run", daemon=True)
    waiting_task = asyncio.current_task()
    # Counted before the thread starts, since a Ctrl-C right after the start must not count as old.
    cancellations_before = waiting_task.cancelling() if waiting_task is not None else 0
    thread.start()
    try:
        _join(thread, waiting_task, cancellations_before)
    except BaseException:
        stopped.set()
        with contextlib.suppress(RuntimeError):  # its loop has just closed by itself
            for loop, task in tasks:
                loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


# In a running loop Ctrl-C cancels the task instead of raising in this thread, so a plain join()
# would never see it.
def _join(
    thread: threading.Thread, waiting_task: asyncio.Task[Any] | None, cancellations_before: int
) -> None:
    """Wait for a thread. Raises ``CancelledError`` if the task that waits is cancelled."""
    while thread.is_alive():
        thread.join(_SECONDS_BETWEEN_LOOKS)
        if waiting_task is not None and waiting_task.cancelling() > cancellations_before:
            raise asyncio.CancelledError
