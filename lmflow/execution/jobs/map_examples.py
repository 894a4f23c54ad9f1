"""Runs a program on examples, side by side."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Never

from lmflow.data.dataset import check_rows, records
from lmflow.data.shards import shard_settings
from lmflow.errors.options import JOB_OPTIONS, explains_options
from lmflow.execution.budget import Budget
from lmflow.execution.call_order import check_order
from lmflow.execution.jobs.long_map import RowRollouts, map_long
from lmflow.execution.jobs.samples import Rows, sampled
from lmflow.execution.rollout import Rollout
from lmflow.execution.runs import complete_run, run_opened
from lmflow.execution.session import EMPTY, HasSession, Session
from lmflow.programs.program import Program
from lmflow.progress.display import Progress, chosen
from lmflow.traces.paged import HELD
from lmflow.traces.trace import Run
from lmflow.values.record import Record
from lmflow.versions.version import Version


@explains_options(JOB_OPTIONS)
async def map(  # noqa: A001, PLR0913 - the method's name; each is a choice of its own
    self: HasSession,
    program: Program,
    examples: Rows,
    *extra: Never,
    version: Version | str | None = None,
    samples: int = 1,
    budget: Budget | None = None,
    config: Mapping[str, Any] = EMPTY,
    progress: Progress | None = None,
) -> Run:
    """Run a program on each example, side by side.

    Bad inputs are refused before anything is sent. Executions are labelled ``ex[id]``, after
    the position if an example has no ``id``, and ``/n[k]`` if there are several samples.

    A million examples need no more memory than a thousand: of a run of more than 1,000 executions
    in a ``SqliteStore``, traces are read when they are looked at. More than 1,000 examples of an
    iterator, and those of an asynchronous one, are read as executions begin; then a bad one ends
    the run when it is reached, and ``ex.resume(run, program, examples)`` goes on.

    Args:
        program: The program.
        examples: The examples, also an iterator or asynchronous iterator; only the program's inputs
            and ``id`` are read.
        *extra: Nothing; a version is given by keyword.
        version: A version, or the name of a ref or version in the store; the defaults if ``None``.
        samples: How often each example runs, each time with a sample number of its own.
        budget: The most that the run may spend.
        config: Settings to store on the run.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The run with one trace an execution, in order. A failure is ``trace.failure``.

    Raises:
        TypeError: A version is given by position.
        ValueError: Two examples have the same id, or ``samples`` is less than 1.
        BudgetExceeded: The budget ended the run; the error says what is left to do.
    """
    check_order("map", extra, examples)
    progress = chosen(progress)
    session = self._session.bounded(budget)
    settings = Record(config) | shard_settings(examples)
    rows, is_long = _read_ahead(examples)
    if not is_long:
        rollouts = session.with_answers(
            map_rollouts(session, program, records(rows), version, samples)
        )
        run = session.new_run("map", str(program), rollouts, config=settings)
        opening = (run_opened(run, rollouts),)
        return await complete_run(
            session, run, dict(enumerate(rollouts)), progress, opening=opening
        )
    base, root = session.version(version), session.root_version(version)
    sampling = functools.partial(sampled, samples=samples)
    making = RowRollouts(program, base, root, sampling)
    return await map_long(session, rows, making, samples, progress, settings)


def _read_ahead(examples: Rows) -> tuple[Any, bool]:
    """Return the examples, and whether there are more than are held; of an iterator the first are
    read for that.
    """
    if isinstance(examples, AsyncIterable):
        return examples, True
    check_rows(examples)
    if isinstance(examples, Sequence):
        return examples, len(examples) > HELD
    reading = iter(examples)
    first = list(islice(reading, HELD + 1))
    return (chain(first, reading), True) if len(first) > HELD else (first, False)


def map_rollouts(
    session: Session,
    program: Program,
    rows: Sequence[Record],
    version: Version | str | None,
    samples: int,
) -> list[Rollout]:
    """Make the rollouts of ``Executor.map``. Raises ``ValueError`` if two rows have the same id."""
    base, root = session.version(version), session.root_version(version)
    making = RowRollouts(program, base, root, functools.partial(sampled, samples=samples))
    return [rollout for row in rows for rollout in making.of(row)]
