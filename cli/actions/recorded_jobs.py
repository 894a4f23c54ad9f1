"""Resumes, replays and rescores recorded evaluations and optimizations."""

from __future__ import annotations

import time
from collections.abc import Collection

import attrs
import click

from lmflow.cli.actions.jobs import (
    print_evaluation,
    print_optimization,
    run_evaluation,
    run_optimization,
)
from lmflow.cli.loading.jobs import Job
from lmflow.cli.loading.own import adapters_beside
from lmflow.cli.loading.recorded_jobs import load_recorded_job, replayed_version
from lmflow.cli.options import echo_json
from lmflow.errors import ReplayDiverged, UnknownVersion, short
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judging import (
    evaluation_by,
    is_judgement,
    judge_names,
    judges_of,
    recorded_verdicts,
)
from lmflow.execution.budget import Spent
from lmflow.execution.costs import spent_on
from lmflow.models.prices import cost_of
from lmflow.replays.exact import replay
from lmflow.stores.opened import AnyStore, open_store
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run
from lmflow.views.lines import counted, took

JOB_KINDS = frozenset({"optimize", "evaluate"})
_EDITED = "Was the program, the metric or the optimizer edited since?"


@attrs.frozen(kw_only=True)
class ResumeLimits:
    """The limits of a resumed job, and the scripts that may be imported again."""

    concurrency: int
    calls: int | None
    usd: float | None
    allowed: tuple[str, ...]


def resume_job(store_path: str, recorded: Run, limits: ResumeLimits, *, as_json: bool) -> None:
    """Run a stopped evaluation or optimization to its end; recorded calls are not sent again. Of an
    evaluation that has ended the result is printed, and nothing is recorded.
    """
    concurrency = limits.concurrency
    if recorded.status == "done":
        words = f"nothing to resume: run {recorded.id} came to its end"
        click.echo(f"{words}, {short(recorded.result)}; its result:", err=True)
    with open_store(store_path) as store:
        with store.reading() as reader:
            job = load_recorded_job(recorded, reader, limits.allowed)
            if recorded.status == "done" and recorded.kind == "evaluate":
                print_evaluation(rescore(recorded, job), as_json=as_json)
                return
            spent = _spent_before(store, recorded)
        if limits.calls is not None or limits.usd is not None:
            spec = attrs.evolve(job.spec, calls=limits.calls, usd=limits.usd)
            job = attrs.evolve(job, spec=spec)
        if recorded.kind == "evaluate":
            evaluation = run_evaluation(
                store, job, concurrency, quiet=as_json, of=recorded.id, spent=spent
            )
            print_evaluation(evaluation, as_json=as_json)
            return
        optimization = run_optimization(
            store, job, concurrency, quiet=as_json, of=recorded.id, spent=spent
        )
    print_optimization(optimization, job, "", as_json=as_json)


def replay_job(reader: Reader, recorded: Run, allowed: Collection[str], *, as_json: bool) -> None:
    """Replay an evaluation or optimization offline; ``ReplayDiverged`` if its result differs. A run
    that never ended has no result: only its executions are compared.

    ``allowed`` are the modules that may be imported although they are scripts.
    """
    started, job = time.perf_counter(), load_recorded_job(recorded, reader, allowed)
    if recorded.kind == "evaluate":
        result, words = _replay_evaluation(recorded, job)
    else:
        version = replayed_version(recorded, job)
        result, words = version.id, f"version {version.id}"
    if recorded.result not in {"", result}:
        before, after = f"result {recorded.result}", f"result {result}"
        raise ReplayDiverged(f"run {recorded.id}", before, after, _EDITED)
    calls, seconds = sum(len(trace.answers) for trace in recorded), time.perf_counter() - started
    if as_json:
        facts = {"run": recorded.id, "result": result, "same": True, "calls": calls}
        echo_json({**facts, "sent": 0, "seconds": seconds})
        return
    click.echo(identical_line(len(recorded), calls, seconds))
    click.echo(words)
    if not recorded.result:
        click.echo(f"The run never ended: this is what it had come to. lmflow resume {recorded.id}")


def identical_line(traces: int, calls: int, seconds: float) -> str:
    """Return the line that says that a replay came to what was recorded."""
    answered = f"{counted(calls, 'call')} answered from the store, 0 sent"
    return f"identical: {counted(traces, 'trace')}, {answered}, {took(seconds * 1e9)}"


def rescore(run: Run, job: Job) -> Evaluation:
    """Score a recorded evaluation with the job's metrics, without sending anything."""
    executions = tuple(item for item in run.items if not is_judgement(item[0]))
    own = attrs.evolve(run, items=executions, name=str(job.program))
    verdicts = recorded_verdicts(run, judge_names(job.metrics))
    return evaluation_by(own, job.datasets["data"], job.metrics, verdicts)


def _replay_evaluation(recorded: Run, job: Job) -> tuple[str, str]:
    """Replay each execution of an evaluation; return its root and its words."""
    judges = {judge.program.key: judge.program for judge in judges_of(job.metrics).values()}
    adapters = adapters_beside(job.spec.target)
    for trace in recorded:
        replay(trace, judges.get(trace.program, job.program), adapters=adapters)
    evaluation = rescore(recorded, job)
    words = [f"{name} {mean}" for name, mean in evaluation.means.items()]
    return evaluation.root, "\n".join([*words, f"root {evaluation.root}"])


def has_version(reader: Reader, version: str) -> bool:
    """Return whether the store has a version."""
    try:
        reader.version(version)
    except UnknownVersion:
        return False
    return True


def _spent_before(store: AnyStore, run: Run) -> Spent:
    """Sum the spending of a run and of the runs that it resumes."""
    spent = spent_on([call for trace in run for call in trace.calls], cost_of)
    return spent + _spent_before(store, store.run(run.of)) if run.of else spent
