"""Runs a program on examples, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never

from lmflow.data.dataset import records
from lmflow.errors.options import JOB_OPTIONS, explains_options
from lmflow.execution.budget import Budget
from lmflow.execution.call_order import check_order
from lmflow.execution.jobs.evaluate import sampled
from lmflow.execution.rollout import Rollout, version_with_overlay
from lmflow.execution.runs import run_rollouts
from lmflow.execution.session import HasSession, Session
from lmflow.programs.program import Program, pending_of
from lmflow.progress.display import Progress, chosen
from lmflow.traces.trace import Run
from lmflow.values.record import Record
from lmflow.values.unicode import well_formed
from lmflow.versions.version import Version


@explains_options(JOB_OPTIONS)
async def map(  # noqa: A001, PLR0913 - the method's name; each is a choice of its own
    self: HasSession,
    program: Program,
    examples: Iterable[Mapping[str, Any]],
    *extra: Never,
    version: Version | str | None = None,
    samples: int = 1,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a program on each example, side by side.

    Bad inputs are refused before anything is sent. Executions are labelled ``ex[id]``, after
    the position if an example has no ``id``, and ``/n[k]`` if there are several samples.

    Args:
        program: The program.
        examples: The examples; only the program's inputs and ``id`` are read.
        *extra: Nothing; a version is given by keyword.
        version: A version, or the name of a ref or version in the store; the defaults if ``None``.
        samples: How often each example runs, each time with a sample number of its own.
        budget: The most that the run may spend.
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
    rollouts = map_rollouts(session, program, records(examples), version, samples)
    return await run_rollouts(session, "map", str(program), rollouts, progress=progress)


def map_rollouts(
    session: Session,
    program: Program,
    rows: Sequence[Record],
    version: Version | str | None,
    samples: int,
) -> list[Rollout]:
    """Make the rollouts of ``Executor.map``. Raises ``ValueError`` if two rows have the same id."""
    base, root = session.version(version), session.root_version(version)
    pendings = [pending_of(program, row) for row in rows]
    rollouts = []
    for pending, label in zip(pendings, _distinct_labels(rows), strict=True):
        for sample, name in sampled(pending, label, samples):
            rollouts.append(Rollout(sample, version_with_overlay(sample, base), name, first=root))
    return rollouts


def _distinct_labels(rows: Sequence[Record]) -> list[str]:
    ids = [well_formed(str(row.get("id", position))) for position, row in enumerate(rows)]
    repeated = next((name for name, count in Counter(ids).items() if count > 1), None)
    if repeated is not None:
        msg = (
            f"the example id {repeated!r} appears twice:"
            " ids label examples in the run, so they must differ"
        )
        raise ValueError(msg)
    return [f"ex[{name}]" for name in ids]
