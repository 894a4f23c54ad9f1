"""The command ``optimize``, and what ``resume`` and ``replay`` do with optimizations and
evaluations.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.commands.evaluate import METRIC_HELP, evaluated, rescored, told
from lmflow.cli.loading.recorded_work import work_of
from lmflow.cli.loading.work import Job, JobSpec, Source, load_job
from lmflow.cli.options import adapters_option, echo_json, in_colour, json_option, store_option
from lmflow.cli.text.optimization import plan_data, plan_text, price_of, report, spending, steps
from lmflow.cli.text.progress import Watched, watching
from lmflow.errors import ReplayDiverged, UnknownVersion, short
from lmflow.evaluation.charts import lines_svg
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, evaluation_by_judge
from lmflow.evaluation.rescoring import examples_of, scores_from
from lmflow.execution.budget import NOTHING, Spent, spent_on
from lmflow.execution.executor import Executor
from lmflow.execution.optimize import Optimization, replayed
from lmflow.models.prices import cost_of
from lmflow.optimizers.parts.plan import Bound, Traces
from lmflow.optimizers.registry import OPTIMIZERS
from lmflow.programs.program import take
from lmflow.replays.exact import replay as driven_again
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.trace import Run
from lmflow.versions.version import check_ref


@click.command()
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option("--optimizer", required=True, metavar="NAME", help=f"One of {', '.join(OPTIMIZERS)}.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of it; several times.",
)
@click.option(
    "--train",
    required=True,
    metavar="DATA",
    help="To learn from: a file, or NAME[:SPLIT] of the store.",
)
@click.option("--select", default="", metavar="DATA", help="The examples to choose by.")
@click.option("--held", default="", metavar="DATA", help="The examples to judge by in the end.")
@click.option(
    "--split",
    "parts",
    default="",
    metavar="A,B[,C]",
    help="Part the train data instead: .5,.25,.25.",
)
@click.option("--metric", required=True, metavar="METRIC", help=METRIC_HELP)
@click.option(
    "--version",
    default="",
    metavar="REF",
    shell_complete=complete_ref,
    help="The version to start from.",
)
@click.option(
    "--ref", default="", metavar="NAME", help="Point this ref at the version that comes out."
)
@click.option("--model", default="", metavar="PROVIDER/MODEL", help="The program's model.")
@adapters_option
@click.option(
    "--proposer-model",
    "proposer",
    default="",
    metavar="PROVIDER/MODEL",
    help="Who writes instructions.",
)
@click.option("--budget-calls", "calls", type=click.IntRange(0), help="Send at most so many calls.")
@click.option(
    "--budget-usd", "usd", type=click.FloatRange(0), help="Spend at most so many dollars."
)
@click.option(
    "--guard", "guarded", is_flag=True, help="Keep the start unless the held-back data says better."
)
@click.option(
    "--prior",
    "prior",
    multiple=True,
    metavar="RUN",
    help="A run that harvest learns from; several times.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and the most that it takes; send nothing."
)
@click.option(
    "--curve", default="", metavar="FILE.svg", help="Write the learning curve as a picture."
)
@click.option(
    "--concurrency",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls open at once.",
)
@store_option
@json_option
def optimize(
    options: tuple[str, ...], proposer: str, parts: str, store: str, *, as_json: bool, **given: Any
) -> None:
    """Tune a program's parameters for a metric, within a budget.

    Ctrl-C keeps the best so far; `lmflow resume RUN` goes on and pays for nothing twice.

    \b
    Example:
      lmflow optimize app:rag --optimizer labeled_few_shot --train dev.jsonl --metric f1 --model openai/gpt-5-mini
    """
    curve, concurrency, dry_run, prior = (
        given.pop(name) for name in ("curve", "concurrency", "dry_run", "prior")
    )
    files = tuple(
        (part, Source(path)) for part in ("train", "select", "held") if (path := given.pop(part))
    )
    options += (f"model={proposer}",) if proposer else ()
    asked = JobSpec(files=files, options=options, split=_sizes(parts), **given)
    _check(asked, curve, prior)
    if dry_run:
        _plan(asked, prior, store, as_json=as_json)
        return
    with SqliteStore(store) as kept:
        it = _after(kept, asked, prior)
        done = optimized(kept, it, concurrency, quiet=as_json)
        report_tuning(done, it, curve, as_json=as_json)


def optimized(  # noqa: PLR0913 - what it is of
    kept: SqliteStore,
    it: Job,
    concurrency: int,
    *,
    quiet: bool,
    of: str = "",
    spent: Spent = NOTHING,
) -> Optimization:
    """An optimization as it was asked for, on record. Ctrl-C keeps the best so far and says how to
    go on.
    """
    asked, optimizer, data, metric = it.asked, it.optimizer, it.data, it.metric
    seen = Watched(bound_of(it), it.budget, lambda: spent)

    async def go() -> Optimization:
        async with Executor(
            asked.model or None,
            kept,
            concurrency=concurrency,
            target=asked.target,
            adapters=it.adapters,
        ) as ex:
            seen.spent = lambda: spent + ex.spent
            with watching(seen, quiet=quiet) as tell:
                return await ex.optimize(
                    optimizer, it.program, it.start, data, metric, ref=asked.ref, prior=it.prior,
                    budget=it.budget, spent=spent, config=it.config, of=of, tell=tell,
                )  # fmt: skip

    try:
        return asyncio.run(go())
    except KeyboardInterrupt:
        run = next((run for run in kept.runs(1) if run.kind == "optimize" and run.of == of), None)
        if run is None or not run.result:
            raise
        best = short(run.result)
        words = f"stopped; the best so far is kept as {best}: `lmflow show {best}`"
        raise click.ClickException(
            f"{words}.\n`lmflow resume {run.id}` goes on and pays for nothing twice."
        ) from None


def bound_of(it: Job) -> Bound:
    """The most that an optimization asks for, a judge's answers with it."""
    it.optimizer.check(Traces(it.start, it.data, it.prior))
    bound = it.optimizer.bound(it.program, it.data)
    judgements = (
        max(bound.judgements, bound.rollouts) if isinstance(it.metric, Judge) else bound.judgements
    )
    return Bound(bound.rollouts, bound.proposals, judgements)


def resumed(
    store: str, recorded: Run, concurrency: int, max_calls: int | None, *, as_json: bool
) -> None:
    """Begin an optimization or an evaluation again that was stopped; what is recorded is not asked
    again.
    """
    if recorded.status == "done":
        click.echo(f"run {recorded.id} came to its end: {short(recorded.result)}", err=True)
    with SqliteStore(store) as kept:
        with kept.reading() as reader:
            it, spent = work_of(recorded, reader), _spent_before(kept, recorded)
        if max_calls is not None:
            it = attrs.evolve(it, asked=attrs.evolve(it.asked, calls=max_calls))
        if recorded.kind == "evaluate":
            found = evaluated(kept, it, concurrency, quiet=as_json, of=recorded.id, spent=spent)
            told(found, as_json=as_json)
            return
        done = optimized(kept, it, concurrency, quiet=as_json, of=recorded.id, spent=spent)
    report_tuning(done, it, "", as_json=as_json)


def proven(reader: Reader, recorded: Run, *, as_json: bool) -> None:
    """Replay an optimization or an evaluation offline; ``ReplayDiverged`` where it comes to
    something else.
    """
    started, it = time.perf_counter(), work_of(recorded, reader)
    if recorded.kind == "evaluate":
        came, words = _scored_again(recorded, it)
    else:
        version = replayed(
            recorded, it.optimizer, it.program, Traces(it.start, it.data, it.prior), it.metric
        )
        came, words = version.id, f"version {version.id}"
    expected = recorded.result or (came if _holds(reader, came) else "")
    if came != expected:
        fix = "Was the program, the metric or the optimizer edited since?"
        raise ReplayDiverged(
            f"run {recorded.id}", f"result {expected or 'none on record'}", f"result {came}", fix
        )
    calls, seconds = sum(len(trace.answers) for trace in recorded), time.perf_counter() - started
    if as_json:
        echo_json(
            {
                "run": recorded.id,
                "result": came,
                "same": True,
                "calls": calls,
                "sent": 0,
                "seconds": seconds,
            }
        )
        return
    click.echo(
        f"identical: {len(recorded)} traces, {calls} calls answered from the store, 0 sent, {seconds:.2f} s"
    )
    click.echo(words)


def report_tuning(done: Optimization, it: Job, curve: str, *, as_json: bool) -> None:
    """Print the closing report, and write the curve where that is asked for."""
    if curve:
        Path(curve).write_text(
            lines_svg(
                {"best so far": steps(done.curve)}, f"{done.optimizer.name} of {it.asked.target}"
            ),
            encoding="utf-8",
        )
    if as_json:
        echo_json(_data(done))
        return
    click.echo("\n".join(report(done, refused(done, it), colour=in_colour())))
    old, new, run = short(done.start.id), short(done.version.id), done.run.id
    click.echo("\nNext:")
    click.echo(f"  lmflow show {new}")
    if new != old:
        click.echo(f"  lmflow diff {old} {new}")
    if it.asked.ref and new != old:
        click.echo(f"  lmflow rollback {it.asked.ref}")
    elif new != old:
        click.echo(f"  lmflow ref set main {new}")
    click.echo(f"  lmflow replay {run}")
    if done.stopped:
        click.echo(f"  lmflow resume {run} --max-calls N")


def refused(done: Optimization, it: Job) -> Evaluation | None:
    """What a guard that kept the start version saw of the best that the search came to, ``None``
    elsewhere.
    """
    seen = tuple(
        (label, trace) for label, trace in done.run.items if label.startswith("guard/after/ex[")
    )
    if not it.asked.guarded or not seen or done.version.id != done.start.id:
        return None
    run, held, metric = attrs.evolve(done.run, items=seen), it.data.held, it.metric
    if not isinstance(metric, Judge):
        return scores_from(run, held, metric)
    said = {trace.inputs: trace for trace in done.run.traces if trace.program == metric.program.key}
    asked = {
        label: take(metric.program, metric.inputs(example, trace.outputs)).inputs
        for (label, trace), example in zip(seen, examples_of(run, held), strict=True)
        if trace.outputs is not None
    }
    return evaluation_by_judge(
        run,
        held,
        metric,
        {label: said[inputs] for label, inputs in asked.items() if inputs in said},
    )


def _check(asked: JobSpec, curve: str, prior: Iterable[str]) -> None:
    """What can be refused before anything is loaded or sent."""
    given = {part for part, _ in asked.files}
    if asked.split and given != {"train"}:
        raise click.ClickException(
            "--split parts the train data: give no --select and no --held beside it."
        )
    if prior and asked.optimizer != "harvest":
        raise click.ClickException(
            f"--prior is what harvest learns from; {asked.optimizer} asks for its own runs."
        )
    if asked.ref:
        check_ref(asked.ref)
    if curve and not curve.endswith(".svg"):
        raise click.ClickException(f"--curve writes SVG: name it {Path(curve).stem}.svg.")


def _sizes(text: str) -> tuple[float, ...]:
    try:
        sizes = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        sizes = (0.0,)
    if sizes and len(sizes) not in {2, 3}:
        raise click.ClickException(
            f"--split {text!r} isn't two or three fractions: --split .5,.25,.25."
        )
    return sizes


def _after(store: SqliteStore | Reader, asked: JobSpec, prior: Iterable[str]) -> Job:
    """What the words stand for, with the traces of runs that existed before."""
    return attrs.evolve(
        load_job(asked, store), prior=tuple(trace for run in prior for trace in store.run(run))
    )


def _plan(asked: JobSpec, prior: Iterable[str], store: str, *, as_json: bool) -> None:
    """Print what an optimization would take at most."""
    if Path(store).exists():
        with reading(store) as reader:
            it = _after(reader, asked, prior)
            last = reader.latest(it.start.id) if _holds(reader, it.start.id) else None
    else:
        it, last = load_job(asked, None), None
    price = price_of(it.program, it.start, it.data.train[0], last)
    plan = plan_data(bound_of(it), price, asked.model)
    if as_json:
        echo_json(plan)
    else:
        click.echo(plan_text(it.optimizer.name, it.program, it.data, plan, asked.budget))


def _holds(reader: Reader, version: str) -> bool:
    try:
        reader.version(version)
    except UnknownVersion:
        return False
    return True


def _spent_before(kept: SqliteStore, run: Run) -> Spent:
    """What a run and those that it begins again have spent of their budget; what scored held-back
    data is apart.
    """
    calls = [
        call for label, trace in run.items if not label.startswith("held/") for call in trace.calls
    ]
    spent = spent_on(calls, cost_of)
    return spent + _spent_before(kept, kept.run(run.of)) if run.of else spent


def _scored_again(recorded: Run, it: Job) -> tuple[str, str]:
    """The root of an evaluation whose executions were all replayed, and its words."""
    judge = it.metric.program if isinstance(it.metric, Judge) else None
    for trace in recorded:
        driven_again(trace, judge if judge and trace.program == judge.key else it.program)
    found = rescored(recorded, it)
    return found.root, f"{found.metric_name} {found.mean}\nroot {found.root}"


def _data(done: Optimization) -> dict[str, Any]:
    """An optimization as JSON values."""
    found = done.comparison
    scores = {
        name: side
        and side.mean
        and {"mean": side.mean.value, "low": side.mean.low, "high": side.mean.high}
        for name, side in (("before", done.before), ("after", done.after))
    }
    return {
        "run": done.run.id, "version": done.version.id, "start": done.start.id, "stopped": done.stopped, **scores,
        "verdict": found.verdict if found else None, "better": found.better if found else None,
        "spent": {"calls": done.spent.calls, "tokens": done.spent.tokens, "cost": done.spent.cost},
        "phases": spending(done.run), "curve": done.curve,
    }  # fmt: skip
