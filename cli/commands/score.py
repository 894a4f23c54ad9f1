"""The command ``score``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.loading.metrics import METRIC_HELP, load_function_metric, score_trace
from lmflow.cli.loading.recorded_data import JUDGED, recorded_datasets, recorded_example
from lmflow.cli.options import echo_json, json_option, options_value, store_option, user_name
from lmflow.errors import NotFound, near
from lmflow.metrics import metric_key, name_of
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Trace


@attrs.frozen(kw_only=True)
class ScoreOptions:
    """The arguments and options of ``score``."""

    run: str
    name: str
    value: float | None
    metric: str
    feedback: str
    label: str
    store: str
    as_json: bool


@click.command()
@click.argument("run", shell_complete=complete_run)
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
@store_option
@json_option
@options_value(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Add a score or feedback to a run or trace.

    RUN is a run with one trace, or the id of a trace; with --metric all traces of a run are scored,
    against the examples of its data set. No score is overwritten, and nothing is sent.

    \b
    Example:
      lmflow score RUN --name helpful --value 1
    """
    _check(options)
    if options.metric:
        _score_by_metric(options)
        return
    value = options.value
    with reading(options.store) as reader:
        trace = _trace(reader, options.run, options.label)
    recorded = ScoreRecorded(
        trace, options.name, value, options.feedback, "", user_name(), time.time_ns()
    )
    with SqliteStore(options.store) as store:
        store.append(recorded).result()
    if options.as_json:
        facts = {"trace": trace, "name": options.name, "value": value}
        echo_json({**facts, "feedback": options.feedback})
    else:
        click.echo(f"{trace}: {options.name} {'' if value is None else f'{value:g}'}".rstrip())


def _check(options: ScoreOptions) -> None:
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
    """Score the recorded outputs of a run, or of one of its traces, and print the scores."""
    metric = load_function_metric(options.metric)
    name, key = options.name or name_of(metric), metric_key(metric)
    with reading(options.store) as reader:
        traces = _scored_traces(reader, options.run, options.label)
    events = []
    for example, trace in traces:
        score = score_trace(metric, example, trace)
        events.append(
            ScoreRecorded(trace.id, name, score.value, score.feedback, key, "", time.time_ns())
        )
    if not events:
        raise click.ClickException(f"run {options.run} has no outputs to score.")
    with SqliteStore(options.store) as store:
        store.append(*events).result()
    if options.as_json:
        echo_json([{"trace": e.trace, "name": name, "value": e.value} for e in events])
        return
    for event in events:
        click.echo(f"{event.trace}: {name} {event.value:g}")


def _scored_traces(reader: Reader, name: str, label: str) -> list[tuple[Mapping[str, Any], Trace]]:
    """Return the traces that have outputs, each with its example, or with its inputs if the run has
    no data set.
    """
    try:
        run = reader.run(name)
    except NotFound:
        trace = reader.trace(name)
        return [(trace.inputs, trace)] if trace.outputs is not None else []
    trace_id = _trace(reader, name, label) if label else ""
    datasets = recorded_datasets(run, reader)
    pairs = []
    for text, trace in run.items:
        if trace.outputs is None or text.endswith(JUDGED) or trace_id not in {"", trace.id}:
            continue
        example = recorded_example(run, text, trace, datasets)
        pairs.append((trace.inputs if example is None else example, trace))
    return pairs


def _trace(reader: Reader, name: str, label: str) -> str:
    """Return the id of the trace that a run and a label, or a trace's own id, name."""
    try:
        labels = reader.labels(name)
    except NotFound:
        return reader.trace(name).id
    traces = [trace for text, trace in labels if text == label or len(labels) == 1]
    if traces:
        return traces[0]
    names = [text for text, _ in labels]
    first = names[0] if names else "LABEL"
    problem = f"{label} isn't one of them.{near(label, names)}" if label else "none is named."
    hint = f"Name one of its labels: --label {first}"
    raise click.ClickException(f"run {name} has {len(labels)} traces; {problem} {hint}")
