"""Runs that workers share: how they are begun, and driven to their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from random import SystemRandom
from typing import Any

import attrs
import click

from lmflow.cli.actions.mapping import out_of_map, write_results
from lmflow.cli.actions.merged_runs import record_items
from lmflow.cli.actions.working import keys_of, owner_name
from lmflow.cli.loading.jobs import Job
from lmflow.cli.loading.programs import load_program
from lmflow.data.dataset import Dataset
from lmflow.data.shards import in_parts
from lmflow.errors import NotFound, StoreError
from lmflow.exchange.leases import JobState, Lease
from lmflow.exchange.merged_runs import merge_runs
from lmflow.execution.budget import Spent
from lmflow.execution.costs import spent_on
from lmflow.execution.rollout import new_id
from lmflow.execution.workers.part import BEATS
from lmflow.models.prices import cost_of
from lmflow.programs.program import Program
from lmflow.progress.tracker import Tracker, tracking
from lmflow.progress.update import silent
from lmflow.stores.opened import AnyStore, StoreURL, open_store
from lmflow.traces.events import RunClosed, RunOpened, VersionSaved
from lmflow.traces.trace import Run
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

LARGEST_PART = 32
"""Examples of a part, if there are enough of them."""

_PARTS = 8  # parts a worker at least, so that they end together
_WAIT = 0.1
_WORKER = "from lmflow.cli.main import main; main()"


@attrs.frozen(kw_only=True)
class SharedJob:
    """The work of workers: a program under a version, and where it is found.

    Attributes:
        target: Its ``module:program``.
        program: The program.
        version: The version.
        samples: How often each example runs.
        model: The model, empty if the program names its own.
        adapters: The adapters by patterns.
        concurrency: The calls that each worker sends at once.
        seconds: The time of a lease.
    """

    target: str
    program: Program
    version: Version
    samples: int = 1
    model: str = ""
    adapters: Mapping[str, str] = Record()
    concurrency: int = 16
    seconds: float = 30.0


@attrs.frozen(kw_only=True)
class DriveLimits:
    """How a run is driven: by how many processes, within which budget, in which store."""

    workers: int
    calls: int | None
    store: str
    quiet: bool


def begin_job(
    store: AnyStore,
    job: SharedJob,
    rows: Sequence[Record],
    workers: int,
    settings: Mapping[str, Any],
) -> str:
    """Record an open run that workers share, its data and its version; return its id."""
    parts = in_parts(rows, _size(len(rows), workers))
    store.keep_dataset(Dataset(str(job.program), parts[0].rows))
    work = {
        "target": job.target,
        "keys": keys_of(job.program),
        "version": job.version.id,
        "data": parts[0].data,
        "rows": len(rows),
        "size": _size(len(rows), workers),
        "samples": job.samples,
        "model": job.model,
        "adapters": dict(job.adapters),
        "concurrency": job.concurrency,
        "seconds": job.seconds,
        "workers": workers,
    }
    run = Run(
        new_id(SystemRandom()),
        "map",
        str(job.program),
        target=job.target,
        started=time.time_ns(),
        config=Record(settings) | Record(work=work),
    )
    store.append(VersionSaved(job.version, time.time_ns()), RunOpened(run)).result()
    store.leases.open_job(run.id, len(parts), None)
    return run.id


def drive(store: AnyStore, job: str, limits: DriveLimits) -> Run:
    """Start workers, wait until all parts are settled, and close the run; return it.

    Raises:
        StoreError: Another process drives the run.
        click.ClickException: The budget is spent, or a worker can't work; its words say why.
    """
    run = store.run(job)
    if run.status == "done":
        return run
    work, leases = run.config["work"], store.leases
    lease = leases.drive(job, owner_name(), work["seconds"])
    if lease is None:
        who = leases.state(job).driver
        fix = f"Wait for it, or help: lmflow work --run {job}."
        raise StoreError(store.name, f"run {job} is driven by another process ({who})", fix)
    leases.open_job(job, 0, limits.calls)
    try:
        _wait_for_workers(store, run, lease, limits)
        whole = _assembled(store, run)
    except BaseException:
        leases.give_back(lease, _budget(limits.calls))
        raise
    leases.settle(lease, _budget(limits.calls))
    return whole


def resume_shared(name: str, recorded: Run, calls: int | None, *, quiet: bool) -> Run:
    """Drive a run that workers share to its end, and write its file."""
    work = recorded.config["work"]
    limits = DriveLimits(workers=work["workers"], calls=calls, store=name, quiet=quiet)
    with open_store(name) as store:
        run = drive(store, recorded.id, limits)
        if (out := out_of_map(recorded)) is not None:
            write_results(run, load_program(work["target"]), out)
    return run


def execute_shared(
    store: AnyStore, job: Job, concurrency: int, seconds: float, limits: DriveLimits
) -> Spent:
    """Execute the examples of an evaluation by workers; return what that cost.

    The evaluation itself comes after it, and takes the recorded calls. The same evaluation goes on
    where an earlier one stopped.
    """
    shared = SharedJob(
        target=job.spec.target,
        program=job.program,
        version=job.start,
        samples=job.spec.samples,
        model=job.spec.model,
        adapters=job.adapters,
        concurrency=concurrency,
        seconds=seconds,
    )
    rows = tuple(job.datasets["data"])
    same = digest("shared evaluation", attrs.evolve(job.spec, calls=None).config)
    known = known_job(store, "evaluated", same)
    begun = known or begin_job(store, shared, rows, limits.workers, {"evaluated": same})
    run = drive(store, begun, limits)
    return spent_on((call for trace in run for call in trace.calls), cost_of)


def known_job(store: AnyStore, name: str, same: str) -> str | None:
    """Return the latest run that workers share whose setting ``name`` is ``same``."""
    for job in store.leases.jobs(closed=True):
        with contextlib.suppress(NotFound):  # it was removed
            if store.run(job).config.get(name) == same:
                return job
    return None


def _wait_for_workers(store: AnyStore, run: Run, lease: Lease, limits: DriveLimits) -> None:
    work, leases = run.config["work"], store.leases
    progress = silent if limits.quiet else None
    tracker = Tracker(str(run.name), work["rows"] * work["samples"])
    beaten, shown = time.monotonic(), 0
    with _processes(limits, run.id) as crew, tracking(progress, tracker):
        while (state := leases.state(run.id)).held or state.waiting:
            if state.is_spent and not state.held:
                raise _spent(state, run.id)
            crew.look(waits=bool(state.waiting))
            rows = min(state.done * work["size"], work["rows"]) * work["samples"]
            tracker.count(rows - shown)
            shown = rows
            time.sleep(_WAIT)
            if time.monotonic() - beaten > work["seconds"] / BEATS:
                beaten = time.monotonic()
                if not leases.beat(lease, work["seconds"]):
                    problem = f"another process took over run {run.id}"
                    raise StoreError(store.name, problem, "Wait for it.")


def _spent(state: JobState, run: str) -> click.ClickException:
    return click.ClickException(
        f"the budget of {state.budget} calls is spent: {state.done} of "
        f"{state.done + state.waiting} parts of run {run} are done. The same line with a larger"
        " --budget-calls goes on, and pays for nothing twice."
    )


class _Crew:
    """The worker processes of one driver."""

    def __init__(self, store: str, job: str, count: int) -> None:
        # The URL may have a password, which the list of processes would show.
        name = store.url if isinstance(store, StoreURL) else store
        self._environment = os.environ | {"LMFLOW_STORE": name}
        self._line = [sys.executable, "-c", _WORKER, "work", "--run", job, "--json"]
        self._processes = [self._started() for _ in range(count)]

    def look(self, *, waits: bool) -> None:
        """Replace workers that were killed; raise the error of one that can't work."""
        for at, process in enumerate(self._processes):
            code = process.poll()
            if code is not None and code > 0:
                words = (process.stderr.read() if process.stderr else "").strip()
                raise click.ClickException(f"a worker ended: {words.removeprefix('Error: ')}")
            if code is not None and waits:
                self._processes[at] = self._started()

    def stop(self) -> None:
        """End all workers; each gives its part back first."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._processes:
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - this interpreter, this package
            self._line,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@contextlib.contextmanager
def _processes(limits: DriveLimits, job: str) -> Iterator[_Crew]:
    crew = _Crew(limits.store, job, limits.workers)
    try:
        yield crew
    finally:
        crew.stop()


def _assembled(store: AnyStore, run: Run) -> Run:
    """Record the executions of all parts as those of the run, in order, and close it."""
    parts = [store.run(name) for name in store.leases.state(run.id).runs]
    merged = merge_runs(*parts)
    whole = attrs.evolve(
        merged, id=run.id, started=run.started, ended=time.time_ns(), config=run.config
    )
    record_items(store, whole, len(run))
    store.append(RunClosed(run.id, "done", whole.root, whole.ended, "")).result()
    return whole


def _size(rows: int, workers: int) -> int:
    """Return the examples of a part."""
    return max(1, min(LARGEST_PART, rows // (workers * _PARTS)))


def _budget(calls: int | None) -> int:
    return -1 if calls is None else calls
