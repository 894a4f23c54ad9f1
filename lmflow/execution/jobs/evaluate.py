"""Evaluates live: runs a program under a version on examples and records a score for each."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never

import attrs

from lmflow.data.dataset import Dataset, example_id
from lmflow.data.shards import shard_settings
from lmflow.errors import BadData, near, short
from lmflow.errors.options import JOB_OPTIONS, explains_options
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.fields import check_fields
from lmflow.evaluation.judges import Judge, Scorers, scorer_key
from lmflow.evaluation.judging import evaluation_by, judge_names, judgement_label, judges_of
from lmflow.evaluation.metric_kinds import warn_of_dspy
from lmflow.evaluation.rescoring import examples_of
from lmflow.evaluation.several import named_metrics
from lmflow.execution.budget import NOTHING, Budget, Spent
from lmflow.execution.call_order import check_order
from lmflow.execution.jobs.kept_examples import KeptExamples, read_examples
from lmflow.execution.jobs.long_evaluate import evaluate_long
from lmflow.execution.jobs.run_config import begin_job, run_config
from lmflow.execution.jobs.samples import Rows, check_samples, sampled
from lmflow.execution.open_run import OpenRun, Step, open_run, traces_by_label
from lmflow.execution.progress import tracked
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import EMPTY, HasSession, Session
from lmflow.metrics import Metric
from lmflow.programs.parameters import init
from lmflow.programs.program import Program, pending_of
from lmflow.programs.tool import check_tools
from lmflow.progress.display import Progress, chosen
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


@explains_options(JOB_OPTIONS)
async def evaluate(  # noqa: PLR0913 - the parts of an evaluation
    self: HasSession,
    program: Program,
    examples: Rows,
    metric: Scorers,
    *extra: Never,
    version: Version | str | None = None,
    primary: str = "",
    samples: int = 1,
    cluster: str = "",
    reuse: bool = True,
    budget: Budget | None = None,
    spent: Spent = NOTHING,
    config: Mapping[str, Any] = EMPTY,
    of: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Run a program under a version on examples and score each; the scores are stored with the
    traces.

    A million examples need little more memory than a thousand: more than 1,000 are stored in a
    ``SqliteStore`` as they are read, all before anything is sent, and the evaluation's rows are
    read when they are looked at.

    Args:
        program: The program.
        examples: The examples, also an iterator or asynchronous iterator, with the fields that the
            metric reads.
        metric: The metric or judge; or several, as a list or a mapping by name. The first is the
            primary one, of which ``mean`` and comparisons speak; ``evaluation.by(name)`` is the
            evaluation by another one.
        *extra: Nothing; a version is given by keyword.
        version: A version, or the name of a ref or version in the store; the defaults if ``None``.
        primary: The name of the primary metric, by default the first.
        samples: How often each example runs.
        cluster: A field of the examples; examples with equal values count as one in the
            interval.
        reuse: Whether recorded calls answer requests that are the same. Stored outputs never
            do.
        budget: The most that the evaluation may spend.
        spent: What counts as spent of the budget from the start.
        config: Settings to store on the run beside data, metric and version.
        of: The run that this one begins again.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The mean with its interval, rows, cost and latency.

    Raises:
        TypeError: A version is given by position.
        ValueError: Two metrics have one name, or none is called ``primary``.
        BadData: Two examples have one id, or an example lacks the field ``cluster``.
        MetricFailed: A metric failed on all outputs, or reads a field that is in none.
        BudgetExceeded: The budget ended the evaluation.
    """
    check_order("evaluate", extra, examples)
    metrics = named_metrics(metric, primary)
    warn_of_dspy(metrics.values())
    progress = chosen(progress)
    session = self._session.within(budget, spent)
    check_samples(samples)
    evaluated = self._session.version(version) or init(program)
    judges = judges_of(metrics).values()
    _look_up(session, program, evaluated)
    for judge in judges:
        _look_up(session, judge.program, judge.under)
    data = await read_examples(
        self._session, str(program), examples, functools.partial(_check_row, program, cluster)
    )
    settings = _settings(data.digest, metrics, evaluated, samples)
    check_fields(metrics, program, _field_rows(data))
    settings |= config or await _begin(self._session, program, data, metrics, budget)
    settings |= shard_settings(examples)
    async with open_run(session, "evaluate", str(program), settings, of, reuse=reuse) as run:
        total = len(data) * samples * (1 + len(judges))
        with tracked(run.session, progress, str(program), total) as tracker:
            options: dict[str, Any] = {"samples": samples, "cluster": cluster, "step": tracker.step}
            if isinstance(data, KeptExamples):
                return await evaluate_long(run, program, evaluated, data, metrics, **options)
            evaluation = await evaluate_on(run, program, evaluated, data, metrics, **options)
        await run.close(result=evaluation.root)
    return evaluation


def _check_row(program: Program, cluster: str, example: Record) -> None:
    """Raise the error of an example that the program can't run on, or that has no cluster."""
    pending_of(program, example)
    if cluster and cluster not in example:
        raise BadData(
            str(program),
            f"the example {short(example_id(example))!r} has no field {cluster!r}",
            near(cluster, example).strip(),
        )


def _field_rows(data: Dataset | KeptExamples) -> Iterable[Mapping[str, Any]]:
    """Return rows that together have all fields of the data."""
    return [dict.fromkeys(data.fields)] if isinstance(data, KeptExamples) else data


async def _begin(
    session: Session,
    program: Program,
    data: Dataset | KeptExamples,
    metrics: Mapping[str, Metric | Judge],
    budget: Budget | None,
) -> Record:
    if isinstance(data, KeptExamples):
        return run_config(program, (_field_rows(data),), metrics, budget)
    return await begin_job(session, program, (data,), metrics, budget)


def _settings(
    data: str, metrics: Mapping[str, Metric | Judge], version: Version, samples: int
) -> Record:
    """Return the settings of an evaluation, as its run keeps them: the key of the primary metric,
    and of several the names and keys of all, in order.
    """
    keys = [[name, scorer_key(metric)] for name, metric in metrics.items()]
    settings = {
        "data": data,
        "metric": keys[0][1],
        "version": version.id,
        "samples": samples,
    }
    if len(keys) > 1:
        settings |= {"metrics": keys, "judges": list(judges_of(metrics))}
    return Record(settings)


def _look_up(session: Session, program: Program, version: Version) -> None:
    """Raise ``ModelUnavailable``, or a tool's error, before the run opens, so that an evaluation
    that can't start leaves no empty run.
    """
    session.model_places(program)(version)
    if session.connections.answers is None:
        check_tools(program)


async def evaluate_on(  # noqa: PLR0913 - the parts of an evaluation
    run: OpenRun,
    program: Program,
    version: Version,
    data: Dataset,
    metrics: Mapping[str, Metric | Judge],
    *,
    samples: int = 1,
    label: str = "",
    cluster: str = "",
    step: Step = bool,
    session: Session | None = None,
) -> Evaluation:
    """Run a version on each example of a data set as part of a run, score each, and record the
    scores.

    Judges are called once all examples have run; their calls are part of the same run. ``session``
    pays for everything, by default the run's own. ``step`` is called after each execution with
    whether it succeeded.
    """
    rollouts = rollouts_on(program, version, data, label, samples)
    traces = traces_by_label(rollouts, await run.add(rollouts, step, session=session))
    part = attrs.evolve(run.run, items=tuple(traces.items()), name=str(program))
    judgements = _judgement_rollouts(part, data, metrics)
    verdicts: dict[str, dict[str, Trace]] = {name: {} for name in judges_of(metrics)}
    if judgements:
        judged = await run.add(list(judgements.values()), step, session=session)
        for (name, place), trace in zip(judgements, judged, strict=True):
            verdicts[name][place] = trace
    evaluation = evaluation_by(part, data, metrics, verdicts)
    await run.record(*_score_events(evaluation))
    return attrs.evolve(evaluation, cluster=cluster)


def rollouts_on(
    program: Program, version: Version, data: Dataset, label: str = "", samples: int = 1
) -> list[Rollout]:
    """Make the rollouts of a program on a data set, one for each example and sample.

    They are labelled ``ex[id]``, after the position if the example has no id, and ``/n[k]`` if
    there are several samples.
    """
    check_samples(samples)
    prefix = f"{label}/" if label else ""
    rollouts = []
    for position, row in enumerate(data):
        name = f"{prefix}ex[{row.get('id', position)}]"
        for pending, sample_name in sampled(pending_of(program, row), name, samples):
            rollouts.append(Rollout(pending, version, sample_name))
    return rollouts


def _judgement_rollouts(
    run: Run, data: Dataset, metrics: Mapping[str, Metric | Judge]
) -> dict[tuple[str, str], Rollout]:
    """Make the judges' rollouts, by the judge's name and the label of the trace to judge; a trace
    without outputs is not judged.
    """
    names, rollouts = judge_names(metrics), {}
    examples = examples_of(run, data) if names else []
    for judge_name, judge in judges_of(metrics).items():
        for (label, trace), example in zip(run.items, examples, strict=True):
            if trace.outputs is None:
                continue
            pending = judge.program(**judge.inputs(example, trace.outputs))
            place = judgement_label(label, names[judge_name])
            rollouts[judge_name, label] = Rollout(pending, judge.under, place)
    return rollouts


def _score_events(evaluation: Evaluation) -> Sequence[ScoreRecorded]:
    """Return the events that record the scores by each metric."""
    now = time.time_ns()
    return [
        ScoreRecorded(
            row.trace,
            name,
            row.score.value,
            row.score.feedback,
            each.metric,
            at=now,
            run=evaluation.run,
        )
        for name, each in ((name, evaluation.by(name)) for name in evaluation.metrics)
        for row in each.rows
        if row.score is not None
    ]
