"""The command ``optimize``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import attrs
import click

from lmflow.cli.actions.jobs import bound_of, print_optimization, run_optimization
from lmflow.cli.actions.recorded_jobs import has_version
from lmflow.cli.commands.completion import complete_program, complete_ref
from lmflow.cli.loading.jobs import PARTS, Job, JobSpec, Source, load_job
from lmflow.cli.loading.metrics import METRIC_HELP
from lmflow.cli.options import (
    adapters_option,
    allow_files_option,
    budget_options,
    concurrency_option,
    echo_json,
    integer,
    json_option,
    options_value,
    store_option,
)
from lmflow.cli.text.optimization import Price, plan_data, plan_text, price_of
from lmflow.execution.jobs.judging import FEWER_ROWS, JudgingPlan, plan_judging
from lmflow.models.prices import cost_of
from lmflow.optimizers.parts.limits import Limits
from lmflow.optimizers.registry import OPTIMIZERS
from lmflow.stores.opened import AnyStore, is_there, open_store, reading
from lmflow.stores.sqlite.lists.named import run_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.versions.version import check_ref

_LEARN_FROM_RUNS = ("auto", "harvest")


@attrs.frozen(kw_only=True)
class OptimizeOptions:
    """The arguments and options of ``optimize``."""

    target: str
    optimizer: str
    options: tuple[str, ...]
    train: str
    select: str
    held: str
    fractions: str
    metric: str
    version: str
    ref: str
    model: str
    adapters: dict[str, str]
    allow_files: tuple[str, ...]
    proposer: str
    calls: int | None
    usd: float | None
    guarded: bool
    folds: int | None
    judge_rows: int | None
    unjudged: bool
    prior: tuple[str, ...]
    dry_run: bool
    curve: str
    concurrency: int
    store: str
    as_json: bool

    @property
    def spec(self) -> JobSpec:
        """The specification of the job, its split read."""
        paths = zip(PARTS, (self.train, self.select, self.held), strict=True)
        proposer = (f"model={self.proposer}",) if self.proposer else ()
        return JobSpec(
            target=self.target,
            metric=self.metric,
            files=tuple((part, Source(path)) for part, path in paths if path),
            optimizer=self.optimizer,
            options=self.options + proposer,
            split=_fractions(self.fractions),
            guarded=self.guarded,
            folds=self.folds or 0,
            version=self.version,
            model=self.model,
            ref=self.ref,
            calls=self.calls,
            usd=self.usd,
            adapters=self.adapters,
            allow_files=self.allow_files,
            judge_rows=0 if self.unjudged else self.judge_rows,
        )


@click.command()
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option(
    "--optimizer",
    default="auto",
    metavar="NAME",
    help=f"One of {', '.join(OPTIMIZERS)}, or your own, MODULE:NAME; auto, which plans for the "
    "budget, by default.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the optimizer; repeatable.",
)
@click.option(
    "--train",
    required=True,
    metavar="DATA",
    help="The examples to learn from: a file, or NAME[:SPLIT] of the store.",
)
@click.option("--select", default="", metavar="DATA", help="The examples to select versions by.")
@click.option("--held", default="", metavar="DATA", help="The examples to judge the result by.")
@click.option(
    "--split",
    "fractions",
    default="",
    metavar="A,B[,C]",
    help="Split the train data into train, select and held instead: .5,.25,.25.",
)
@click.option("--metric", required=True, metavar="METRIC", help=METRIC_HELP)
@click.option(
    "--version",
    default="",
    metavar="REF",
    shell_complete=complete_ref,
    help="The version to start from.",
)
@click.option("--ref", default="", metavar="NAME", help="Point this ref at the resulting version.")
@click.option("--model", default="", metavar="PROVIDER/MODEL", help="The program's model.")
@adapters_option
@allow_files_option
@click.option(
    "--proposer-model",
    "proposer",
    default="",
    metavar="PROVIDER/MODEL",
    help="The model that writes instructions.",
)
@budget_options("Send at most so many calls.", "Spend at most so many dollars.")
@click.option(
    "--guard",
    "guarded",
    is_flag=True,
    help="Keep the start version unless the held-back data says that the new one is better.",
)
@click.option(
    "--folds",
    type=integer(2),
    default=None,
    metavar="K",
    help="Judge the optimizer by K folds of the examples, if they are too few to hold some back.",
)
@click.option(
    "--judge-rows",
    "judge_rows",
    type=integer(0),
    default=None,
    metavar="N",
    help="Judge the result on the first N held-back examples only.",
)
@click.option(
    "--no-judge",
    "unjudged",
    is_flag=True,
    help="Do not judge the result on the held-back examples.",
)
@click.option(
    "--prior",
    "prior",
    multiple=True,
    metavar="RUN",
    help="A run that auto or harvest learns from, or an execution, RUN/ex[e7]; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and its upper bound; send nothing.")
@click.option("--curve", default="", metavar="FILE.svg", help="Write the learning curve as SVG.")
@concurrency_option(16, "Calls sent at once.")
@store_option
@json_option
@options_value(OptimizeOptions)
def optimize(options: OptimizeOptions) -> None:
    """Tune a program's parameters for a metric, within a budget.

    Ctrl-C keeps the best so far; `lmflow resume RUN` goes on and pays for nothing twice.

    \b
    Example:
      lmflow optimize app:rag --train dev.jsonl --metric f1 --model openai/MODEL --budget-calls 300
    """
    spec = options.spec
    _check(spec, options)
    if options.dry_run:
        _print_plan(spec, options)
        return
    with open_store(options.store) as store:
        job = _load(store, spec, options.prior)
        optimization = run_optimization(store, job, options.concurrency, quiet=options.as_json)
        print_optimization(optimization, job, options.curve, as_json=options.as_json)


def _check(spec: JobSpec, options: OptimizeOptions) -> None:
    """Refuse contradicting options before anything is loaded or sent."""
    if not options.train:
        raise click.ClickException("--train names no examples: give a file, --train train.jsonl.")
    if spec.split and (options.select or options.held):
        raise click.ClickException(
            "--split divides the train data: give neither --select nor --held with it."
        )
    if options.prior and spec.optimizer not in _LEARN_FROM_RUNS:
        raise click.ClickException(
            f"--prior is for {' and '.join(_LEARN_FROM_RUNS)}, which learn from other runs;"
            f" {spec.optimizer} does not."
        )
    if spec.ref:
        check_ref(spec.ref)
    if options.curve and not options.curve.endswith(".svg"):
        name = Path(options.curve).stem
        raise click.ClickException(f"--curve writes SVG: name the file {name}.svg.")


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        fractions = (0.0,)
    if fractions and len(fractions) not in {2, 3}:
        raise click.ClickException(
            f"--split {text!r} isn't two or three fractions: --split .5,.25,.25."
        )
    return fractions


def _load(store: AnyStore | Reader, spec: JobSpec, prior: Iterable[str]) -> Job:
    """Load the job, with the traces of prior runs."""
    with nullcontext(store) if isinstance(store, Reader) else store.reading() as reader:
        traces = tuple(trace for name in prior for trace in run_at(reader, name))
    return attrs.evolve(load_job(spec, store), prior=traces)


def _print_plan(spec: JobSpec, options: OptimizeOptions) -> None:
    """Print the most that an optimization would take."""
    if is_there(options.store):
        with reading(options.store) as reader:
            job = _load(reader, spec, options.prior)
            start = job.start.id
            last = reader.latest(start) if has_version(reader, start) else None
    else:
        job, last = load_job(spec, None), None
    price = price_of(job.program, job.start, job.data.train[0], last)
    judging = plan_judging(job.program, job.data.held, job.metric, spec.judge_rows)
    plan = plan_data(bound_of(job), judging, price, spec.model)
    if options.as_json:
        echo_json(plan)
    else:
        words = _schedule_words(job, price, judging)
        click.echo(plan_text(job.optimizer.name, job.program, job.data, plan, spec.budget, words))
    if spec.calls is not None and plan["judging"]["calls"] > spec.calls:
        calls = f"{plan['judging']['calls']:,} calls"
        raise click.ClickException(
            f"{spec.budget} is too small: judging takes about {calls}. {FEWER_ROWS}"
        )


def _schedule_words(job: Job, price: Price, judging: JudgingPlan) -> str:
    """Say what the budget buys; a budget of dollars is taken as the calls that it buys at the
    estimated price.
    """
    budget, optimizer, usd = job.budget, job.optimizer, ""
    if budget is not None and budget.calls is None and budget.cost and job.unfitted.fit:
        cost = cost_of(job.spec.model, price.usage, time.time_ns()) if job.spec.model else None
        if cost:
            calls = max(1, round(budget.cost * price.calls / cost) - judging.calls)
            optimizer = job.unfitted.fit(Limits(calls=calls))
            usd = f"at about {calls:,} calls it "
    words = optimizer.words(job.program, job.data, job.metric)
    return usd + words if words else ""
