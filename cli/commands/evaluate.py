"""The commands ``eval`` and ``compare``."""

from __future__ import annotations

from typing import Any

import attrs
import click

from lmflow.cli.actions.driving import DriveLimits, execute_shared
from lmflow.cli.actions.jobs import check_models, print_evaluation, run_evaluation
from lmflow.cli.commands.completion import complete_program, complete_ref, complete_run
from lmflow.cli.loading.jobs import Job, JobSpec, Source, load_job
from lmflow.cli.loading.metrics import METRICS_HELP
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_evaluation
from lmflow.cli.options import (
    adapters_option,
    allow_files_option,
    budget_options,
    check_shareable,
    concurrency_option,
    echo_json,
    integer,
    json_option,
    options_value,
    program_option,
    shard_option,
    store_option,
    workers_options,
)
from lmflow.cli.text.optimization import comparison_text
from lmflow.data.file_rows import ENDINGS
from lmflow.errors import NotFound
from lmflow.evaluation.comparison import Comparison
from lmflow.evaluation.comparison import compare as compare_evaluations
from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import NOTHING, Spent
from lmflow.stores.opened import AnyStore, open_store, reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run

DATA_HELP = f"The examples: a file ({', '.join(ENDINGS)}), or NAME[:SPLIT] of the store."
_MODEL = click.option("--model", default="", metavar="PROVIDER/MODEL", help="The model.")
_BUDGET = budget_options("Send at most so many calls.", "Spend at most so many dollars.")
_SAMPLES = click.option(
    "--samples",
    default=1,
    show_default=True,
    type=integer(1),
    help="How often to run each example.",
)
_CONCURRENCY = concurrency_option(16, "Calls sent at once.")


@attrs.frozen(kw_only=True)
class _EvaluationOptions:
    """The options that ``eval`` and ``compare`` share."""

    target: str
    data: str
    metric: tuple[str, ...]
    samples: int
    model: str
    adapters: dict[str, str]
    allow_files: tuple[str, ...]
    calls: int | None
    usd: float | None
    concurrency: int
    store: str
    as_json: bool
    shard: str = ""

    def spec(self, version: str) -> JobSpec:
        """Return the specification of the evaluation of a version."""
        primary, *others = self.metric
        return JobSpec(
            target=self.target,
            metric=primary,
            other_metrics=tuple(others),
            files=(("data", Source(self.data)),),
            version=version,
            model=self.model,
            samples=self.samples,
            calls=self.calls,
            usd=self.usd,
            adapters=self.adapters,
            allow_files=self.allow_files,
            shard=self.shard,
        )


@attrs.frozen(kw_only=True)
class EvalOptions(_EvaluationOptions):
    """The arguments and options of ``eval``."""

    version: str
    workers: int
    lease: float


@attrs.frozen(kw_only=True)
class CompareOptions(_EvaluationOptions):
    """The arguments and options of ``compare``."""

    a: str
    b: str
    cluster: str


@click.command("eval")
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option("--data", required=True, metavar="DATA", help=DATA_HELP)
@click.option("--metric", required=True, multiple=True, metavar="METRIC", help=METRICS_HELP)
@click.option(
    "--version", default="", metavar="REF", shell_complete=complete_ref, help="A ref or version."
)
@shard_option
@_SAMPLES
@_MODEL
@adapters_option
@allow_files_option
@_BUDGET
@_CONCURRENCY
@workers_options
@store_option
@json_option
@options_value(EvalOptions)
def evaluate(options: EvalOptions) -> None:
    """Score a program on examples, with an interval.

    Recorded calls are reused. Failures are counted apart from scores. Prints the summary, a
    histogram and the rows, the worst first. With several metrics the first is primary, and each
    has a line and a column; NAME=METRIC names one.

    \b
    Example:
      lmflow eval app:rag --data dev.jsonl --metric exact_match:answer --model openai/MODEL
      lmflow eval app:rag --data dev.jsonl --metric f1 --metric app:brief --model openai/MODEL
    """
    if options.workers:
        check_shareable(options.usd, options.shard)
    with open_store(options.store) as store:
        job = load_job(options.spec(options.version), store)
        spent = _by_workers(store, job, options) if options.workers else NOTHING
        evaluation = run_evaluation(
            store, job, options.concurrency, quiet=options.as_json, spent=spent
        )
    print_evaluation(evaluation, as_json=options.as_json)


def _by_workers(store: AnyStore, job: Job, options: EvalOptions) -> Spent:
    """Execute the examples by processes that share the store; return what that cost."""
    check_models(job)
    limits = DriveLimits(
        workers=options.workers, calls=options.calls, store=options.store, quiet=options.as_json
    )
    return execute_shared(store, job, options.concurrency, options.lease, limits)


@click.command()
@click.argument("a", shell_complete=complete_run)
@click.argument("b", shell_complete=complete_run)
@program_option("The program, for two versions.")
@click.option("--data", default="", metavar="DATA", help="The examples, for two versions.")
@click.option(
    "--metric",
    multiple=True,
    metavar="METRIC",
    help=f"{METRICS_HELP} For two runs, the name of one that both have.",
)
@_SAMPLES
@_MODEL
@adapters_option
@allow_files_option
@_BUDGET
@_CONCURRENCY
@click.option(
    "--cluster",
    default="",
    metavar="FIELD",
    help="Treat examples with the same value of this field as one cluster.",
)
@store_option
@json_option
@options_value(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Compare two evaluations, paired on the same examples.

    A and B are runs of `lmflow eval`, compared by their recorded scores, or, with --program, --data
    and --metric, two versions that are evaluated now.

    \b
    Example:
      lmflow compare prod candidate --program app:rag --data dev.jsonl --metric f1 --model openai/MODEL
    """  # noqa: E501 - an example stands on one line
    metric = ""
    if not options.data and not options.target and len(options.metric) <= 1:
        metric = "".join(options.metric)
        with reading(options.store) as reader:
            a, b = recorded_evaluations(reader, options.a, options.b)
    elif options.data and options.metric and options.target:
        a, b = _evaluated(options)
    else:
        raise click.ClickException(
            "two versions need --program, --data and --metric; two runs at most the name of a"
            " --metric of theirs."
        )
    comparison = compare_evaluations(a, b, metric=metric, cluster=options.cluster)
    if options.as_json:
        echo_json(comparison_data(comparison))
    else:
        click.echo(comparison_text(comparison))


def _evaluated(options: CompareOptions) -> tuple[Evaluation, Evaluation]:
    """Run the evaluations of both versions; both are loaded before anything is sent."""
    with open_store(options.store) as store:
        jobs = [load_job(options.spec(name), store) for name in (options.a, options.b)]
        a, b = (
            run_evaluation(store, job, options.concurrency, quiet=options.as_json) for job in jobs
        )
    return a, b


def recorded_evaluations(reader: Reader, *names: str) -> tuple[Evaluation, ...]:
    """Return recorded evaluations from their recorded scores; the user's code is not loaded.

    Their examples are those of the store or of the files, for all of them or for none: an example
    that is made of recorded inputs lacks the other fields.
    """
    runs = [_evaluation_run(reader, name) for name in names]
    examples = [recorded_datasets(run, reader) for run in runs]
    data = [datasets[0] for datasets in examples] if all(examples) else [None] * len(runs)
    return tuple(
        recorded_evaluation(run, reader, rows) for run, rows in zip(runs, data, strict=True)
    )


def _evaluation_run(reader: Reader, name: str) -> Run:
    try:
        run = reader.run(reader.place(name).run)
    except NotFound as problem:
        raise click.ClickException(
            f"{problem} Two versions need --program, --data and --metric."
        ) from None
    if run.kind != "evaluate":
        raise click.ClickException(
            f"run {run.id} is of kind {run.kind}, not an evaluation: `lmflow eval` makes one."
        )
    return run


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return {
        "a": comparison.a,
        "b": comparison.b,
        "metric": comparison.metric,
        "test": comparison.test.name,
        "p": comparison.p,
        "difference": attrs.asdict(comparison.difference),
        "better": comparison.better,
        "verdict": comparison.verdict,
        "wins": len(comparison.wins),
        "losses": len(comparison.losses),
        "ties": len(comparison.ties),
        "more_examples": comparison.more_examples,
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "failed_a": comparison.failed_a,
        "failed_b": comparison.failed_b,
        "pairs": comparison.table(),
        "others": list(map(comparison_data, comparison.others)),
    }
