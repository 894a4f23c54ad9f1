"""The executor, the only door to the outside: it drives programs and records every call before it is used."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import attrs
import toolz

from lmflow.adapter import ADAPTER
from lmflow.drive import Frame
from lmflow.effects import Pending
from lmflow.errors import UnknownVersion
from lmflow.live import Live, Models, Outside, together
from lmflow.models.base import Model
from lmflow.models.http import Session
from lmflow.params import Env, Version
from lmflow.program import Program, completed, init, take
from lmflow.progress import Progress, silent
from lmflow.store import Recorder
from lmflow.trace import Asked, Event, Run, RunClosed, RunOpened, Trace, TraceClosed, TraceOpened, failed
from lmflow.values import Record

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Executor:
    """Runs programs on a model and records every call in a store.

    ``model`` is a model or its name (``provider/model``); ``concurrency`` bounds the calls that are open at once.
    Without a store, recordings live in memory as long as the executor. Use it as ``async with``; models that it made
    by name end with it.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        store: Recorder | None = None,
        *,
        concurrency: int = 16,
        target: str = "",
    ) -> None:
        if concurrency < 1:
            msg = f"concurrency must be at least 1, found {concurrency}"
            raise ValueError(msg)
        self.store: Recorder = _Unkept() if store is None else store
        self.concurrency = concurrency
        self._target = target
        self._session = Session()
        tools = ThreadPoolExecutor(min(concurrency, 32), "lmflow-tool")
        self._outside = Outside(Models(model), self._session, tools, asyncio.Semaphore(concurrency), self.store)

    async def __aenter__(self) -> Self:
        """The executor itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End servers and sessions that it started, and wait until everything is recorded."""
        await self._outside.models.aclose()
        await self._session.close()
        self._outside.tools.shutdown(wait=False, cancel_futures=True)
        await self._outside.kept()

    async def run(self, program: Program, version: Version | str | None = None, /, **inputs: Any) -> Trace:
        """Run a program on its inputs and return the trace; ``trace.outputs`` holds the outputs.

        ``version`` is a version, or the name of a ref or version in the store; without one the defaults run. It
        always runs anew. Raises what the program raises, after the failure is recorded.
        """
        pending = program(**inputs)
        begun = self._begun(program, version)
        run = Run(_new_id(), "run", str(program), target=self._target, started=time.time_ns())
        await self._outside.kept(RunOpened(run))
        try:
            trace, error = await begun.drive(run.id, "", 0, pending)
        except BaseException:
            self._outside.send(RunClosed(run.id, "stopped", "", time.time_ns()))
            raise
        done = attrs.evolve(run, items=(("", trace),), status="failed" if error else "done", ended=time.time_ns())
        await self._outside.kept(RunClosed(run.id, done.status, done.root, done.ended))
        if error:
            raise error
        return trace

    async def map(
        self,
        program: Program,
        examples: Iterable[Mapping[str, Any]],
        version: Version | str | None = None,
        *,
        progress: Progress = silent,
    ) -> Run:
        """Run a program on each example, side by side; a run with one trace an example, in their order.

        Of an example only the program's inputs are read; its ``id`` labels it, else its position. A failure is the
        trace's ``failure``, not an exception; bad inputs are refused before anything is sent.
        """
        rows = [Record(example) for example in examples]
        pendings = [take(program, row) for row in rows]
        labels = _labels(rows)
        begun = self._begun(program, version)
        run = Run(_new_id(), "map", str(program), target=self._target, started=time.time_ns())
        await self._outside.kept(RunOpened(run))
        gate = asyncio.Semaphore(self.concurrency)

        async def one(position: int) -> Trace:
            async with gate:
                trace, _ = await begun.drive(run.id, labels[position], position, pendings[position])
            step(trace.failure is None)
            return trace

        try:
            with progress(str(program), len(rows)) as step:
                traces = await together([one(position) for position in range(len(rows))])
        except BaseException:
            self._outside.send(RunClosed(run.id, "stopped", "", time.time_ns()))
            raise
        items = tuple(zip(labels, traces, strict=True))
        done = attrs.evolve(run, items=items, status="done", ended=time.time_ns())
        await self._outside.kept(RunClosed(run.id, done.status, done.root, done.ended))
        return done

    def _begun(self, program: Program, version: Version | str | None) -> _Begun:
        found = self.store.version(version) if isinstance(version, str) else version or init(program)
        params = completed(program, found)
        models = tuple(value for path, value in params.items() if path.endswith(".model"))
        world = Record(adapter=ADAPTER, models=self._outside.models.places(models))
        return _Begun(self._outside, program, found, params, world, self._target)


@attrs.frozen(eq=False)
class _Begun:
    """A program with the version, parameters and world that it is about to be executed in."""

    outside: Outside
    program: Program
    version: Version
    params: Record
    world: Record
    target: str

    async def drive(self, run: str, label: str, position: int, pending: Pending) -> tuple[Trace, Exception | None]:
        outside = self.outside
        trace = Trace(
            _new_id(), self.program.key, str(self.program), self.version, pending.inputs, self.world,
            target=self.target, started=time.time_ns(), code=self.program,
        )  # fmt: skip
        await outside.kept(TraceOpened(run, label, position, trace))
        live, outputs, error = Live(outside, trace.id), None, None
        try:
            outputs = await live.run(pending, Frame(Env(self.params)))
        except Exception as problem:  # noqa: BLE001 - recorded, then raised or returned by the caller
            error = problem
        done = attrs.evolve(
            trace, calls=tuple(sorted(live.calls, key=_when)), choices=Record(live.choices), outputs=outputs,
            failure=failed(error) if error else None, ended=time.time_ns(),
            world=self.world | {"models": self.world.models | outside.models.places(live.models)},
        )  # fmt: skip
        await outside.kept(TraceClosed(done))
        return done, error


class _Unkept:
    """The recorder of an executor without a store: the traces themselves hold their calls."""

    def append(self, *events: Event) -> Future[None]:
        """Done at once."""
        del events
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def version(self, name: str) -> Version:
        """There are no names without a store."""
        raise UnknownVersion(name)


def _when(call: Asked) -> tuple[int, str, int]:
    return call.started, call.address, call.attempt


def _labels(rows: list[Record]) -> list[str]:
    names = [str(row.get("id", position)) for position, row in enumerate(rows)]
    if not toolz.isdistinct(names):
        twice = next(name for name, count in toolz.frequencies(names).items() if count > 1)
        msg = f"the example id {twice!r} appears twice: ids label examples in the run, so they must differ"
        raise ValueError(msg)
    return [f"ex[{name}]" for name in names]


def _new_id() -> str:
    number = (time.time_ns() // 1_000_000 << 40) | secrets.randbits(40)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(85, -1, -5))
