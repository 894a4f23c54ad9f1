"""The command ``score``."""

from __future__ import annotations

import math
import time

import attrs
import click

from lmflow.cli.actions.scoring import (
    Chosen,
    chosen_executions,
    scores_by_judge,
    scores_by_metric,
)
from lmflow.cli.commands.completion import complete_run
from lmflow.cli.loading.metrics import METRIC_HELP, load_metric
from lmflow.cli.options import (
    budget_options,
    echo_json,
    json_option,
    options_value,
    store_option,
    user_name,
)
from lmflow.cli.text.terminal import line
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.errors import NotFound, near
from lmflow.evaluation.judges import Judge
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.metrics import Metric, name_of
from lmflow.stores.opened import AnyStore, open_store, reading
from lmflow.stores.sqlite.lists.named import trace_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import ScoreRecorded

_SHOWN = 20


@attrs.frozen(kw_only=True)
class ScoreOptions:
    """The arguments and options of ``score``."""

    runs: tuple[str, ...]
    name: str
    value: float | None
    metric: str
    feedback: str
    label: str
    conditions: tuple[Condition, ...]
    model: str
    calls: int | None
    usd: float | None
    store: str
    as_json: bool

    @property
    def budget(self) -> Budget | None:
        """The budget of a judge, ``None`` if there is no limit."""
        if self.calls is None and self.usd is None:
            return None
        return Budget(calls=self.calls, usd=self.usd)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--name", default="", help="The name of the score, such as helpful.")
@click.option("--value", type=float, help="The number.")
@click.option(
    "--metric",
    default="",
    metavar="METRIC",
    help=f"Score the recorded outputs instead. {METRIC_HELP}",
)
@click.option("--feedback", default="", help="The reason, in words.")
@click.option("--label", default="", help="The label of the trace, if the run has several.")
@where_option("executions")
@click.option(
    "--model", default="", metavar="PROVIDER/MODEL", help="The model of a metric that is a judge."
)
@budget_options("Send at most so many calls of a judge.", "Spend at most so many dollars.")
@store_option
@json_option
@options_value(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Add a score or feedback to a run or trace.

    RUN is a run with one trace, the id of a trace, or RUN/ex[e7]. With --metric all executions of
    the runs, or of all that --where chooses, are scored anew, against the examples of their data
    sets. A metric sends nothing; one that is a judge needs a --model. No score is overwritten: the
    latest counts.

    \b
    Example:
      lmflow score RUN --name helpful --value 1
    """
    _check(options)
    if options.metric:
        _score_by_metric(options)
        return
    with reading(options.store) as reader:
        traces = _judged_traces(reader, options)
    now, user = time.time_ns(), user_name()
    events = [
        ScoreRecorded(trace, options.name, options.value, options.feedback, "", user, now)
        for trace in traces
    ]
    with open_store(options.store) as store:
        store.append(*events).result()
    if not options.as_json:
        for event in events:
            value = "" if event.value is None else f"{event.value:g}"
            click.echo(f"{event.trace}: {line(event.name)} {value}".rstrip())
        return
    rows = [
        {"trace": e.trace, "name": e.name, "value": e.value, "feedback": e.feedback} for e in events
    ]
    echo_json(rows[0] if len(options.runs) == 1 and not options.conditions else rows)


def _check(options: ScoreOptions) -> None:
    if not options.runs and not options.conditions:
        raise click.ClickException("which run? Name it, `lmflow score last ...`, or add a --where.")
    if options.label and len(options.runs) != 1:
        raise click.ClickException("--label is one of a run: name that run, or write RUN/LABEL.")
    if options.metric:
        if options.value is not None or options.feedback:
            raise click.ClickException("--metric gives the scores: leave out --value, --feedback.")
        return
    if not options.name:
        raise click.ClickException("name the score, --name helpful, or give a --metric.")
    if options.value is None and not options.feedback:
        raise click.ClickException("nothing to store: give --value 1, or --feedback with words.")
    if options.value is not None and not math.isfinite(options.value):
        raise click.ClickException(
            f"--value {options.value} is not a finite number: give one such as 1 or 0.5."
        )


def _score_by_metric(options: ScoreOptions) -> None:
    """Score the recorded outputs, and print the scores."""
    metric = load_metric(options.metric)
    name = options.name or name_of(metric)
    with reading(options.store) as reader:
        names = [f"{options.runs[0]}/{options.label}"] if options.label else options.runs
        chosen = chosen_executions(reader, names, options.conditions)
    if not chosen.items:
        what = f"run {options.runs[0]} has" if len(options.runs) == 1 else "the executions have"
        raise click.ClickException(f"{what} no outputs to score.")
    if isinstance(metric, Judge) and not options.model:
        count = len(chosen.items)
        raise click.ClickException(
            f"--metric {options.metric} is a judge, which calls a model for each of {count} "
            "executions. Add --model PROVIDER/MODEL, and --budget-calls N to bound it."
        )
    with open_store(options.store) as store:
        events = _events(store, metric, name, chosen, options)
        store.append(*events).result()
    if options.as_json:
        echo_json([{"trace": e.trace, "name": name, "value": e.value} for e in events])
    else:
        _print_scores(events, chosen, line(name))


def _events(
    store: AnyStore, metric: Metric | Judge, name: str, chosen: Chosen, options: ScoreOptions
) -> list[ScoreRecorded]:
    if isinstance(metric, Judge):
        executor = Executor(options.model, store)
        return scores_by_judge(executor, chosen.items, metric, name, options.budget)
    return scores_by_metric(chosen.items, metric, name)


def _print_scores(events: list[ScoreRecorded], chosen: Chosen, name: str) -> None:
    for event in events[:_SHOWN]:
        click.echo(f"{event.trace}: {name} {event.value:g}")
    if len(events) > _SHOWN:
        click.echo(f"... and {len(events) - _SHOWN} more")
    if len(events) > 1:
        mean = math.fsum(event.value or 0.0 for event in events) / len(events)
        click.echo(f"{name} {mean:.3g} on average over {len(events)} executions")
    failed = len(chosen.items) - len(events)
    if failed:
        click.echo(f"the judge failed on {failed}; `lmflow runs show last` says why", err=True)
    if chosen.without_outputs:
        click.echo(f"{chosen.without_outputs} have no outputs and no score", err=True)


def _judged_traces(reader: Reader, options: ScoreOptions) -> list[str]:
    """Return the ids of the traces that a person judges."""
    if options.label:
        return [_labelled_trace(reader, options.runs[0], options.label)]
    traces = [trace_at(reader, name).id for name in options.runs]
    if options.conditions:
        fitting = [item.trace for item in reader.listing.traces(options.conditions)]
        traces = [trace for trace in fitting if not traces or trace in traces]
    if not traces:
        raise click.ClickException("no execution fulfils the conditions. Loosen a --where.")
    return traces


def _labelled_trace(reader: Reader, name: str, label: str) -> str:
    """Return the id of the trace that a run and a label name."""
    try:
        return reader.place(f"{name}/{label}").trace
    except NotFound:
        place = reader.place(name)
    labels = reader.labels(place.run)
    if place.trace or len(labels) == 1:
        return place.trace or labels[0][1]
    names = [text for text, _ in labels]
    problem = f"{label} isn't one of them.{near(label, names)}"
    hint = f"Name one of its labels: --label {names[0] if names else 'LABEL'}"
    raise click.ClickException(f"run {name} has {len(labels)} traces; {problem} {hint}")
