"""Evaluates on more examples than are held: each is executed, scored and let go."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from array import array
from collections.abc import Hashable, Iterator, Mapping
from typing import IO

import attrs
import toolz

from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, scorer_key, verdict_of
from lmflow.evaluation.judging import judge_names, judgement_label, judges_of
from lmflow.evaluation.long_rows import NOT_JUDGED, LongRows
from lmflow.evaluation.rows import Row, row_of, score_or_failure
from lmflow.evaluation.spending import NO_JUDGING, RowSums, judging_of
from lmflow.evaluation.tally import Sums, Tallying, evaluation_root
from lmflow.execution.jobs.kept_examples import KeptExamples
from lmflow.execution.jobs.samples import sampled
from lmflow.execution.open_run import OpenRun, Step
from lmflow.execution.parts.collected import Collected
from lmflow.execution.rollout import Rollout
from lmflow.metrics import Metric, name_of
from lmflow.programs.program import Program, pending_of
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.paged import Paged
from lmflow.traces.run_root import RunRoot
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

_HELD_FORMS = 2**18
"""The bytes of a metric's results that are held; more wait in a temporary file for the root."""


async def evaluate_long(  # noqa: PLR0913 - the parts of an evaluation
    run: OpenRun,
    program: Program,
    version: Version,
    kept: KeptExamples,
    metrics: Mapping[str, Metric | Judge],
    *,
    samples: int,
    cluster: str,
    step: Step,
) -> Evaluation:
    """Run a version on each example that a store keeps, score it and record the scores, and close
    the run. It comes to what ``evaluate_on`` comes to.

    Raises:
        MetricFailed: A metric failed on all outputs.
        BudgetExceeded: The budget ended it.
    """
    with contextlib.ExitStack() as stack:
        results = _Results(run, kept, metrics, samples, cluster, stack)

        def ended(position: int, rollout: Rollout, trace: Trace) -> None:
            results.add(position, rollout.label, trace)
            step(trace.failure is None)

        await run.execute(results.rollouts(program, version), results.count, ended)
        for name in judges_of(metrics):
            await _judge(run, results, name, step)
        evaluation = results.evaluation(program, version)
    await run.close_as(results.collected.closed(attrs.evolve(run.run, result=evaluation.root)))
    return evaluation


async def _judge(run: OpenRun, results: _Results, name: str, step: Step) -> None:
    """Ask a judge about all executions that have outputs."""

    def ended(position: int, rollout: Rollout, verdict: Trace) -> None:
        results.add_verdict(name, position, rollout.label, verdict)
        step(verdict.failure is None)

    await run.execute(results.judgements(name), results.with_outputs, ended)


@attrs.frozen(eq=False)
class _Judged:
    """An execution that a judge is asked about, and its place among the program's executions."""

    place: int
    label: str
    example: Record
    trace: Trace


class _Results:
    """What a long evaluation has come to. It holds what is open, and a few numbers for each row."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is scored, and how
        self,
        run: OpenRun,
        kept: KeptExamples,
        metrics: Mapping[str, Metric | Judge],
        samples: int,
        cluster: str,
        stack: contextlib.ExitStack,
    ) -> None:
        connections = run.session.connections
        self._connections, self._run_id = connections, run.run.id
        self._kept, self._samples, self._cluster = kept, samples, cluster
        self._metrics, self._judge_names = metrics, judge_names(metrics)
        self.count = len(kept.rows) * samples
        self.collected = Collected(connections, run.run.id, hold=0)
        self._forms = {name: stack.enter_context(_spool()) for name in metrics}
        self._tallyings = {
            name: Tallying(functools.partial(_write_line, forms))
            for name, forms in self._forms.items()
        }
        self._sums, self._root = RowSums(array("f")), RunRoot()
        self._open: dict[int, Record] = {}
        self._judged: dict[int, _Judged] = {}
        self._verdicts = {name: array("i", [NOT_JUDGED]) * self.count for name in self._judge_names}
        self._judging = NO_JUDGING
        self.with_outputs = 0

    def rollouts(self, program: Program, version: Version) -> Iterator[tuple[int, Rollout]]:
        """Yield the executions of the program with their positions in the run."""
        position = 0
        for number, example in enumerate(self._kept.rows):
            name = f"ex[{example.get('id', number)}]"
            for pending, label in sampled(pending_of(program, example), name, self._samples):
                self._open[position] = example
                yield position, Rollout(pending, version, label)
                position += 1

    def add(self, position: int, label: str, trace: Trace) -> None:
        """Score an execution that has ended by all metrics that aren't judges."""
        example = self._open.pop(position)
        self.collected.add(position, label, trace)
        self._root.add(position, label, trace.root)
        self.with_outputs += trace.outputs is not None
        self._sums.add(row_of(label, example, trace))
        results = {
            name: score_or_failure(metric, example, trace)
            for name, metric in self._metrics.items()
            if not isinstance(metric, Judge)
        }
        for name, result in results.items():
            self._score(name, position, row_of(label, example, trace, result))

    def judgements(self, name: str) -> Iterator[tuple[int, Rollout]]:
        """Yield the executions of a judge, each with its position in the run, one for each
        execution of the program that has outputs.
        """
        judge, suffix = self._metrics[name], self._judge_names[name]
        assert isinstance(judge, Judge)  # noqa: S101 - it is called for judges alone
        position = self.collected.count
        items = self.collected.items()[: self.count]
        for place, (label, trace) in enumerate(items):
            example = self._kept.rows[place // self._samples]
            if trace.outputs is None:
                self._score(name, place, row_of(label, example, trace))
                continue
            pending = judge.program(**judge.inputs(example, trace.outputs))
            self._judged[position] = _Judged(place, label, example, trace)
            yield position, Rollout(pending, judge.under, judgement_label(label, suffix))
            position += 1

    def add_verdict(self, name: str, position: int, label: str, verdict: Trace) -> None:
        """Take the score of an execution from what a judge said of it."""
        judge, judged = self._metrics[name], self._judged.pop(position)
        assert isinstance(judge, Judge)  # noqa: S101 - it is called for judges alone
        self.collected.add(position, label, verdict)
        self._judging += judging_of([verdict])
        self._verdicts[name][judged.place] = position
        result = verdict_of(judge, verdict)
        self._score(name, judged.place, row_of(judged.label, judged.example, judged.trace, result))

    def evaluation(self, program: Program, version: Version) -> Evaluation:
        """Return the evaluation, whose rows are read when they are looked at. Raises
        ``MetricFailed`` if a metric failed on all outputs.
        """
        for name, tallying in self._tallyings.items():
            tallying.check(name_of(self._metrics[name]))
        run_root, keys = self._root.value(), toolz.valmap(scorer_key, self._metrics)
        roots = {
            name: evaluation_root(run_root, key, _lines(self._forms[name]))
            for name, key in keys.items()
        }
        rows = LongRows(
            self.collected.items(), self._kept.rows, self._samples, self._metrics, self._verdicts
        )
        first, *others = keys
        evaluation = Evaluation(
            str(program),
            Paged(rows.read, self.count),
            program.key,
            version.id,
            keys[first],
            first,
            self._kept.digest,
            self._run_id,
            run_root,
            self._cluster,
            Record({name: keys[name] for name in others}),
            self._judging,
        )
        tallies = {name: tallying.tally() for name, tallying in self._tallyings.items()}
        return evaluation.with_sums(Sums(tallies, roots, self._sums.spending()))

    def _score(self, name: str, place: int, row: Row) -> None:
        """Add the row of an execution by a metric, and record its score."""
        self._tallyings[name].add(place, row, self._unit(place, row.example))
        if row.score is None:
            return
        event = ScoreRecorded(
            row.trace,
            name,
            row.score.value,
            row.score.feedback,
            scorer_key(self._metrics[name]),
            at=time.time_ns(),
            run=self._run_id,
        )
        self._connections.record(event)

    def _unit(self, place: int, example: Record) -> Hashable:
        if self._cluster:
            return digest("cluster", example[self._cluster])
        return place // self._samples if self._samples > 1 else None


def _spool() -> IO[str]:
    """Return a temporary file that is held in memory as long as it is small."""
    return tempfile.SpooledTemporaryFile(_HELD_FORMS, "w+", encoding="ascii", newline="\n")


def _write_line(file: IO[str], form: str) -> None:
    file.write(form + "\n")


def _lines(file: IO[str]) -> Iterator[str]:
    """Read canonical forms, in which no line ends, from the beginning of a file."""
    file.seek(0)
    return (line.rstrip("\n") for line in file)
