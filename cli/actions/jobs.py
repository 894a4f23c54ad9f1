"""Runs evaluations and optimizations that commands loaded, and prints their results."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.errors import writing
from lmflow.cli.loading.jobs import Job
from lmflow.cli.loading.own import load_adapters
from lmflow.cli.options import echo_json, in_colour
from lmflow.cli.text.optimization import evaluation_text, report, spending, steps
from lmflow.data.dataset import Dataset
from lmflow.data.shards import Shard, shard
from lmflow.errors import ModelUnavailable, short
from lmflow.evaluation.charts import lines_svg
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, evaluation_by_judge
from lmflow.evaluation.judging import judges_of
from lmflow.evaluation.rescoring import examples_of, scores_from
from lmflow.execution.budget import NOTHING, Spent
from lmflow.execution.executor import Executor
from lmflow.execution.jobs.optimization import Optimization
from lmflow.execution.jobs.run_config import keep_data
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import Traces
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import pending_of
from lmflow.progress.update import silent
from lmflow.stores.opened import AnyStore
from lmflow.traces.trace import Run

_GUARDED = "guard/after/ex["


def run_evaluation(  # noqa: PLR0913 - what an evaluation is started with
    store: AnyStore,
    job: Job,
    concurrency: int,
    *,
    quiet: bool,
    of: str = "",
    spent: Spent = NOTHING,
) -> Evaluation:
    """Run and record an evaluation; ``of`` is the run that it resumes, ``spent`` its spending.

    The examples are stored, so that the run can be read without the file.
    """
    check_models(job)
    examples: Dataset | Shard = job.datasets["data"]
    keep_data(store, tuple(job.datasets.values()))
    if job.spec.shard:
        examples = shard(examples, job.spec.shard)
        keep_data(store, (Dataset(job.datasets["data"].name, examples),))

    async def go() -> Evaluation:
        async with _executor(store, job, concurrency) as ex:
            return await ex.evaluate(
                job.program,
                examples,
                job.metrics,
                version=job.start,
                samples=job.spec.samples,
                budget=job.budget,
                config=job.config,
                progress=silent if quiet else None,
                of=of,
                spent=spent,
            )

    return asyncio.run(go())


def run_optimization(  # noqa: PLR0913 - what an optimization is started with
    store: AnyStore,
    job: Job,
    concurrency: int,
    *,
    quiet: bool,
    of: str = "",
    spent: Spent = NOTHING,
) -> Optimization:
    """Run and record an optimization. Ctrl-C keeps the best version so far and says how to resume.

    ``of`` is the run that it resumes, ``spent`` what that run has spent.
    """
    check_models(job)
    optimizer, data = job.optimizer, job.data
    keep_data(store, (data.train, data.select, data.held))

    async def go() -> Optimization:
        async with _executor(store, job, concurrency) as ex:
            return await ex.optimize(
                optimizer,
                job.program,
                data,
                job.metric,
                version=job.start,
                ref=job.spec.ref,
                prior=job.prior,
                budget=job.budget,
                spent=spent,
                config=job.config,
                of=of,
                judge_rows=job.spec.judge_rows,
                fit=False,
                progress=silent if quiet else None,
            )

    try:
        return asyncio.run(go())
    except KeyboardInterrupt:
        # Waves that the search sent are younger runs.
        runs = [run for run in store.runs(100) if run.kind != "wave"][:1]
        run = next((run for run in runs if run.kind == "optimize" and run.of == of), None)
        if run is None or not run.result:
            raise
        raise click.ClickException(_stopped(run)) from None


def _stopped(run: Run) -> str:
    best = short(run.result)
    return (
        f"stopped; the best so far is kept as {best}: `lmflow show {best}`.\n"
        f"`lmflow resume {run.id}` goes on and pays for nothing twice."
    )


def check_models(job: Job) -> None:
    """Raise ``ModelUnavailable`` if a step needs the executor's model and the job has none."""
    judges = judges_of(job.metrics).values()
    versions = [(job.program, job.start), *((judge.program, judge.under) for judge in judges)]
    needed = []
    for program, version in versions:
        params = complete_params(program, version)
        needed += [step for step in program.predictors if not params[f"{step}.model"]]
    if needed and not job.spec.model:
        fix = f"Add --model PROVIDER/MODEL; step {needed[0]!r} names no model of its own."
        raise ModelUnavailable("the default", "no model was given", fix)


def _executor(store: AnyStore, job: Job, concurrency: int) -> Executor:
    spec = job.spec
    return Executor(
        spec.model or None,
        store,
        concurrency=concurrency,
        target=spec.target,
        adapters=load_adapters(job.adapters, spec.target),
    )


def bound_of(job: Job) -> Bound:
    """Return the most that an optimization requests, a judge's calls included.

    Raises the optimizer's own error if it can't work with the data.
    """
    job.optimizer.check(job.program, Traces(job.start, job.data, job.prior))
    return job.optimizer.bound_for(job.program, job.data, job.metric)


def print_evaluation(evaluation: Evaluation, *, as_json: bool) -> None:
    """Print an evaluation; exit with 1 if it has examples, and none was scored."""
    if as_json:
        echo_json(
            {
                **evaluation.to_dict(),
                "mean": evaluation.mean and attrs.asdict(evaluation.mean),
                "means": {
                    name: mean and attrs.asdict(mean) for name, mean in evaluation.means.items()
                },
                "root": evaluation.root,
                "failures": evaluation.failures,
                "cost": evaluation.cost,
            }
        )
    else:
        run = evaluation.run
        click.echo(evaluation_text(evaluation))
        click.echo(f"\nrun {run}; against another: lmflow compare {run} OTHER", err=True)
    if evaluation.mean is None and evaluation.rows:  # a shard may have no examples
        raise SystemExit(1)


def print_optimization(optimization: Optimization, job: Job, curve: str, *, as_json: bool) -> None:
    """Print the closing report of an optimization; if ``curve`` names a file, write the curve."""
    if curve:
        points = {"best so far": steps(optimization.curve)}
        title = f"{optimization.optimizer.name} of {job.spec.target}"
        with writing(curve):
            Path(curve).write_text(lines_svg(points, title), encoding="utf-8")
    if as_json:
        echo_json(_data(optimization, job.spec.ref))
        return
    refused = refused_evaluation(optimization, job)
    click.echo("\n".join(report(optimization, refused, colour=in_colour())))
    click.echo("\n".join(["\nNext:", *_next_commands(optimization, job.spec.ref)]))


def _next_commands(optimization: Optimization, ref: str) -> list[str]:
    start, version = short(optimization.start.id), short(optimization.version.id)
    commands = [f"  lmflow show {version}"]
    if version != start:
        commands.append(f"  lmflow diff {start} {version}")
        moved = ref and not optimization.not_moved
        name = ref or "main"
        commands.append(
            f"  lmflow rollback {ref}" if moved else f"  lmflow ref set {name} {version}"
        )
    commands.append(f"  lmflow replay {optimization.run.id}")
    if optimization.stopped:
        commands.append(f"  lmflow resume {optimization.run.id} --budget-calls N")
    return commands


def refused_evaluation(optimization: Optimization, job: Job) -> Evaluation | None:
    """Return the evaluation of the version that a guard refused, ``None`` if none was refused."""
    items = tuple(item for item in optimization.run.items if item[0].startswith(_GUARDED))
    if not job.spec.guarded or not items or optimization.version.id != optimization.start.id:
        return None
    run = attrs.evolve(optimization.run, items=items)
    if isinstance(job.metric, Judge):
        return _judged(run, optimization.run, job)
    return scores_from(run, job.data.held, job.metric)


def _judged(run: Run, whole: Run, job: Job) -> Evaluation:
    """Return the evaluation of ``run`` by a judge whose traces are in the whole run."""
    judge, examples = job.metric, job.data.held
    assert isinstance(judge, Judge)  # noqa: S101 - the caller has asked
    verdicts = {trace.inputs: trace for trace in whole.traces if trace.program == judge.program.key}
    by_label = {}
    for (label, trace), example in zip(run.items, examples_of(run, examples), strict=True):
        if trace.outputs is None:
            continue
        inputs = pending_of(judge.program, judge.inputs(example, trace.outputs)).inputs
        if inputs in verdicts:
            by_label[label] = verdicts[inputs]
    return evaluation_by_judge(run, examples, judge, by_label)


def _data(optimization: Optimization, ref: str) -> dict[str, Any]:
    """Return an optimization as JSON values; ``ref`` is the ref that it was to move."""
    comparison = optimization.comparison
    moved = not optimization.not_moved
    return {
        "run": optimization.run.id,
        "version": optimization.version.id,
        "start": optimization.start.id,
        "stopped": optimization.stopped,
        "ref": {"name": ref, "moved": moved} if ref else None,
        "before": _mean(optimization.before),
        "after": _mean(optimization.after),
        "verdict": comparison.verdict if comparison else None,
        "better": comparison.better if comparison else None,
        "not_judged": optimization.not_judged,
        "not_moved": optimization.not_moved,
        "spent": attrs.asdict(optimization.spent, filter=_is_told),
        "judging": attrs.asdict(optimization.judging, filter=_is_told),
        "phases": spending(optimization.run),
        "curve": optimization.curve,
    }


def _is_told(field: attrs.Attribute[int], count: int) -> bool:
    """Tell whether a count of calls, tokens or cost is printed; calls of unknown cost are not."""
    del count
    return field.name != "unknown"


def _mean(evaluation: Evaluation | None) -> dict[str, float | None] | None:
    mean = evaluation.mean if evaluation else None
    if mean is None:
        return None
    return {"mean": mean.value, "low": mean.low, "high": mean.high}
