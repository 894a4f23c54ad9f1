"""``Sync``: an executor whose methods block, for scripts and notebooks."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Never, ParamSpec, Self, TypeVar

from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.execution.budget import Left, Spent
from lmflow.execution.events import Listener
from lmflow.execution.executor import Executor
from lmflow.execution.indexing import Indexable, dense_index
from lmflow.execution.stream import Streaming
from lmflow.execution.sync.iterators import SyncListener, SyncStream
from lmflow.execution.sync.loop_thread import LoopThread
from lmflow.traces.recent_runs import RecentRuns
from lmflow.traces.store import Recorder

P = ParamSpec("P")
T = TypeVar("T")


# The twins take their parameters, types and docstrings from the executor's methods, so that they
# can't drift apart.
def _with_parameters_of(
    init: Callable[Concatenate[Executor, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Sync, P], None]]:
    """Give the constructor of ``Sync`` the parameters of the executor's."""
    return functools.wraps(init)


def _direct(
    method: Callable[Concatenate[Executor, P], T],
) -> Callable[Concatenate[Sync, P], T]:
    """Make the twin of a method that waits for nothing."""

    @functools.wraps(method)
    def direct(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self._executor, *args, **kwargs)

    return direct


def _blocking(
    method: Callable[Concatenate[Executor, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Sync, P], T]:
    """Make the twin of a coroutine method: it blocks until the coroutine returns."""

    @functools.wraps(method)
    def blocking(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.wait(lambda: method(self._executor, *args, **kwargs))

    return blocking


def _streaming(
    method: Callable[Concatenate[Executor, P], Streaming],
) -> Callable[Concatenate[Sync, P], SyncStream]:
    """Make the twin of a method that begins a stream: it gives an ordinary iterator."""

    @functools.wraps(method)
    def streaming(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> SyncStream:
        async def begin() -> Streaming:
            return method(self._executor, *args, **kwargs)

        return SyncStream(self._thread.wait(begin), self._thread, self)

    return streaming


def _listening(
    method: Callable[Concatenate[Executor, P], Listener],
) -> Callable[Concatenate[Sync, P], SyncListener]:
    """Make the twin of a method that begins to listen: it gives an ordinary iterator."""

    @functools.wraps(method)
    def listening(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> SyncListener:
        async def begin() -> Listener:
            return method(self._executor, *args, **kwargs)

        return SyncListener(self._thread.wait(begin), self._thread, self)

    return listening


def _limiting(
    method: Callable[Concatenate[Executor, P], Executor],
) -> Callable[Concatenate[Sync, P], Sync]:
    """Make the twin of a method that gives another executor: it gives another ``Sync``."""

    @functools.wraps(method)
    def limiting(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> Sync:
        return self._beside(method(self._executor, *args, **kwargs))

    return limiting


class Sync(ExplainsAttributes):
    """An executor without ``await``: the same options and methods as ``Executor``, each of which
    blocks until its work is done. ``stream`` and ``events`` give ordinary iterators.

    It works in scripts, in notebooks and inside a running loop, and from several threads at once.
    One background thread runs the event loop of all calls, so that connections are reused. Ctrl-C
    stops what runs, which is recorded as stopped. Use it as ``with``, or call ``close``; one that
    was forgotten is closed at the end of the process.

    Args:
        model: The model of steps that name none, or its name, ``provider/model``.
        store: The store that records runs. Without one, recordings live in the returned traces.
        **options: The options of ``Executor``: ``concurrency``, ``budget``, ``timeout``, ...

    Raises:
        ValueError: As ``Executor``.
        TypeError: As ``Executor``.

    Example:
        >>> import lmflow as lf
        >>> answer = lf.predict("answer", "question -> reply")
        >>> with lf.Sync(lf.scripted(["42"])) as ex:
        ...     ex.run(answer, question="what is six times seven?").outputs.reply
        '42'
    """

    _executor: Executor
    _thread: LoopThread
    _owner: Sync | None
    _finalizer: weakref.finalize[Any, Any] | None

    @_with_parameters_of(Executor.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self._executor, self._thread, self._owner = Executor(*args, **options), LoopThread(), None
        self._finalizer = weakref.finalize(self, self._thread.end, self._executor.aclose)

    run = _blocking(Executor.run)
    map = _blocking(Executor.map)
    evaluate = _blocking(Executor.evaluate)
    optimize = _blocking(Executor.optimize)
    replay = _blocking(Executor.replay)
    resume = _blocking(Executor.resume)
    rollouts = _blocking(Executor.rollouts)
    once = _blocking(Executor.once)
    score = _blocking(Executor.score)
    stream = _streaming(Executor.stream)
    events = _listening(Executor.events)
    world = _direct(Executor.world)
    limited = _limiting(Executor.limited)

    def __enter__(self) -> Self:
        """Return the executor itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Never:
        """Raise ``TypeError``: it is entered without ``async``."""
        msg = "lf.Sync is for plain code: with lf.Sync(...) as ex. In async code: lf.Executor(...)"
        raise TypeError(msg)

    async def __aexit__(self, *_: object) -> None:
        """Do nothing; it can't be entered so."""

    def close(self) -> None:
        """Stop open streams, close what the executor started, and wait until everything is
        recorded. Raises ``StoreError`` if the store could not write what was left.

        One that ``limited`` gave ends with its executor: closing it does nothing.
        """
        if self._finalizer is not None:
            self._finalizer()

    @property
    def store(self) -> Recorder:
        """The store that records runs."""
        return self._executor.store

    @property
    def runs(self) -> RecentRuns:
        """The latest runs of this executor, oldest first: ``ex.runs[-1]`` is the last one."""
        return self._executor.runs

    @property
    def concurrency(self) -> int:
        """The most calls that are open at once."""
        return self._executor.concurrency

    @property
    def spent(self) -> Spent:
        """The cost of its calls so far."""
        return self._executor.spent

    @property
    def left(self) -> Left:
        """The part of its budget that is not spent."""
        return self._executor.left

    def dense_index(self, corpus: Indexable[T], **options: Any) -> T:
        """Build the dense index of a corpus, as ``lf.dense_index(corpus, ex)`` does.

        Args:
            corpus: The corpus, such as ``Corpus.open("notes.db")``.
            **options: The options of ``lf.dense_index``: ``model``, ``path``, ``progress``.

        Returns:
            The index.

        Raises:
            ModelUnavailable: The extra ``dense``, the model or its weights are missing.
            ModelFailed: A call failed.
        """
        return self._thread.wait(lambda: dense_index(corpus, self._executor, **options))

    # The limited one keeps its owner alive, whose finalizer ends the thread of both.
    def _beside(self, executor: Executor) -> Sync:
        """Return a ``Sync`` of another executor that shares this one's thread."""
        limited: Sync = object.__new__(Sync)
        limited._executor, limited._thread = executor, self._thread
        limited._owner, limited._finalizer = self, None
        return limited
