"""Commands that score: ``eval`` and ``compare``; and evaluations from what is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_program, complete_ref, complete_run
from lmflow.cli.loading.recorded_work import work_of
from lmflow.cli.loading.work import Job, JobSpec, Source, load_job
from lmflow.cli.options import adapters_option, echo_json, json_option, store_option
from lmflow.cli.text.optimization import comparison_text, evaluation_text
from lmflow.data.readers import ENDINGS
from lmflow.errors import NotFound
from lmflow.evaluation.comparison import Comparison
from lmflow.evaluation.comparison import compare as compared
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, evaluation_by_judge
from lmflow.evaluation.rescoring import scores_from
from lmflow.execution.executor import Executor
from lmflow.execution.progress import bar, silent
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.trace import Run

DATA_HELP = f"The examples: a file ({', '.join(ENDINGS)}), or NAME[:SPLIT] of the store."
METRIC_HELP = "NAME, NAME:FIELD,OPTION=VALUE (exact_match:answer) or MODULE:FUNCTION."
_MODEL = click.option("--model", default="", metavar="PROVIDER/MODEL", help="The model.")
_CALLS = click.option(
    "--budget-calls", "calls", type=click.IntRange(0), help="Send at most so many calls."
)
_USD = click.option(
    "--budget-usd", "usd", type=click.FloatRange(0), help="Spend at most so many dollars."
)
_SAMPLES = click.option(
    "--samples", default=1, show_default=True, type=click.IntRange(1), help="Runs an example."
)
_CONCURRENCY = click.option(
    "--concurrency",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls open at once.",
)


@click.command("eval")
@click.argument("target", metavar="MODULE:PROGRAM", shell_complete=complete_program)
@click.option("--data", required=True, metavar="DATA", help=DATA_HELP)
@click.option("--metric", required=True, metavar="METRIC", help=METRIC_HELP)
@click.option(
    "--version", default="", metavar="REF", shell_complete=complete_ref, help="A ref or version."
)
@_SAMPLES
@_MODEL
@adapters_option
@_CALLS
@_USD
@_CONCURRENCY
@store_option
@json_option
def evaluate(
    target: str, data: str, concurrency: int, store: str, *, as_json: bool, **given: Any
) -> None:
    """Score a program on examples, with interval and failures apart.

    Calls that are recorded already are reused. Prints words, histogram and the rows, the worst
    first.

    \b
    Example:
      lmflow eval app:rag --data dev.jsonl --metric exact_match:answer --model openai/gpt-5-mini
    """
    asked = JobSpec(target, files=(("data", Source(data)),), **given)
    with SqliteStore(store) as kept:
        found = evaluated(kept, load_job(asked, kept), concurrency, quiet=as_json)
    told(found, as_json=as_json)


@click.command()
@click.argument("a", shell_complete=complete_run)
@click.argument("b", shell_complete=complete_run)
@click.option(
    "--program",
    "target",
    default="",
    metavar="MODULE:PROGRAM",
    help="The program, for two versions.",
)
@click.option("--data", default="", metavar="DATA", help="The examples, for two versions.")
@click.option("--metric", default="", metavar="METRIC", help=METRIC_HELP)
@_SAMPLES
@_MODEL
@adapters_option
@_CALLS
@_USD
@_CONCURRENCY
@click.option(
    "--cluster",
    default="",
    metavar="FIELD",
    help="Examples of one value of this field go together.",
)
@store_option
@json_option
def compare(a: str, b: str, data: str, store: str, *, as_json: bool, **given: Any) -> None:
    """Compare two evaluations, paired on the same examples.

    A and B are runs of `lmflow eval`, or, with --data and --metric, two versions that are scored
    now.

    \b
    Example:
      lmflow compare prod candidate --program app:rag --data dev.jsonl --metric f1 --model openai/gpt-5-mini
    """
    cluster, concurrency = given.pop("cluster"), given.pop("concurrency")
    if bool(data) != bool(given["metric"]) or (data and not given["target"]):
        raise click.ClickException(
            "two versions need --program, --data and --metric; two runs need none of them."
        )
    if data:
        files = (("data", Source(data)),)
        with SqliteStore(store) as kept:
            works = [load_job(JobSpec(version=name, files=files, **given), kept) for name in (a, b)]
            sides = [evaluated(kept, it, concurrency, quiet=as_json) for it in works]
    else:
        with reading(store) as reader:
            sides = [_recorded(reader, name) for name in (a, b)]
    found = compared(*sides, cluster=cluster)
    if as_json:
        echo_json(comparison_data(found))
    else:
        click.echo(comparison_text(found))


def evaluated(
    kept: SqliteStore, it: Job, concurrency: int, *, quiet: bool, **again: Any
) -> Evaluation:
    """An evaluation as it was asked for, on record."""
    asked = it.asked

    async def go() -> Evaluation:
        async with Executor(
            asked.model or None,
            kept,
            concurrency=concurrency,
            target=asked.target,
            adapters=it.adapters,
        ) as ex:
            return await ex.evaluate(
                it.program, it.start, it.sets["data"], it.metric, samples=asked.samples, budget=it.budget,
                config=it.config, progress=silent if quiet else bar, **again,
            )  # fmt: skip

    return asyncio.run(go())


def told(found: Evaluation, *, as_json: bool) -> None:
    """Print an evaluation; exit with 1 where nothing was scored."""
    if as_json:
        mean = found.mean and attrs.asdict(found.mean)
        echo_json(
            {
                **found.to_json(),
                "mean": mean,
                "root": found.root,
                "failures": found.failures,
                "cost": found.cost,
            }
        )
    else:
        click.echo(evaluation_text(found))
        click.echo(
            f"\nrun {found.run}; against another: lmflow compare {found.run} OTHER", err=True
        )
    if found.mean is None:
        raise SystemExit(1)


def rescored(run: Run, it: Job) -> Evaluation:
    """The evaluation that a recorded run holds, by the metric of today, asking nothing."""
    lead = "/judge"
    own = attrs.evolve(
        run, items=tuple((name, trace) for name, trace in run.items if not name.endswith(lead))
    )
    own = attrs.evolve(own, name=str(it.program))
    if not isinstance(it.metric, Judge):
        return scores_from(own, it.sets["data"], it.metric)
    verdicts = {name.removesuffix(lead): trace for name, trace in run.items if name.endswith(lead)}
    return evaluation_by_judge(own, it.sets["data"], it.metric, verdicts)


def comparison_data(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    left = {name: getattr(found, name) for name in ("only_a", "only_b", "failed_a", "failed_b")}
    return {
        "a": found.a, "b": found.b, "metric": found.metric, "test": found.test.name, "p": found.p,
        "difference": attrs.asdict(found.difference), "better": found.better, "verdict": found.verdict,
        "wins": len(found.wins), "losses": len(found.losses), "ties": len(found.ties),
        "more_examples": found.more_examples, **left, "pairs": found.table(),
    }  # fmt: skip


def _recorded(reader: Reader, name: str) -> Evaluation:
    try:
        run = reader.run(name)
    except NotFound as problem:
        raise click.ClickException(
            f"{problem} Two versions need --program, --data and --metric."
        ) from None
    if run.kind != "evaluate":
        raise click.ClickException(
            f"run {run.id} is of kind {run.kind}, no evaluation: `lmflow eval` makes one."
        )
    return rescored(run, work_of(run, reader))
